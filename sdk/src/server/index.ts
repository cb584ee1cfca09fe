/**
 * `realtime-worker/server`: publishing from an API worker. In reading order.
 */
export {
	type Batch,
	type CallOptions,
	createRealtime,
	type Published,
	type Realtime,
	type RealtimeEnv,
	type RealtimeOptions,
} from "./realtime.ts";
export type { NamespaceMethods, Publisher } from "./publisher.ts";
export type { BroadcastOptions, ChangeOptions, MaskingConfig, MaskRule, MaskType, MessageOptions } from "./message.ts";
export { defineTable, type RealtimeVariable, realtimeVariable, type Table, type TableOptions, type Tables } from "./table.ts";
export { defineRealtime, type Namespace, type Payload, payload } from "./namespace.ts";
export type { Receipt, Service } from "./request.ts";
export type { RetryOptions } from "./retry.ts";
export { RealtimeError, type RealtimeErrorCode } from "./error.ts";
export type { FlushOptions, FlushReport, Outbox } from "./outbox.ts";
export { type D1, type D1Statement, OUTBOX_TABLE, OUTBOX_TABLE_POSTGRES, type Sql, type SqlValue } from "./sql.ts";
export type { JsonOf } from "../client/definitions.ts";
