/**
 * Subscribes to realtime-worker from a browser, Node or another Worker.
 *
 * @module
 */
export type { BackoffOptions } from "./backoff.ts";
export { type Client, createClient } from "./client.ts";
export type { Socket, Status } from "./connection.ts";
export type {
	Broadcast,
	BroadcastIn,
	BroadcastOf,
	Change,
	ChangeOf,
	ChangeType,
	Definitions,
	DefinitionsOf,
	Delete,
	EventName,
	Insert,
	JsonOf,
	PresenceOf,
	Row,
	RowOf,
	TableName,
	TopicName,
	Update,
} from "./definitions.ts";
export { RealtimeError } from "./error.ts";
export { eventStreamFallback, type FallbackOptions } from "./event-stream.ts";
export { createQueue, type Queue, type Queued, type QueueOptions, type QueueStorage } from "./queue.ts";
export type { Identity, Member, Position } from "./frame.ts";
export type { HeartbeatOptions } from "./heartbeat.ts";
export { judge } from "./judge.ts";
export type { Handler, Off } from "./listeners.ts";
export type { On } from "./on.ts";
export type { ClientOptions, TableOptions } from "./options.ts";
export type { Presence } from "./presence.ts";
export type { Gap } from "./stream.ts";
export type { Subscription } from "./subscription.ts";
export { browser, type Surroundings } from "./surroundings.ts";
export type { TokenReason, TokenSource } from "./token.ts";
export type { SendOptions, Topic, TopicOptions } from "./topic.ts";
export { type Filter, type Scalar, type Where, where } from "./where.ts";
