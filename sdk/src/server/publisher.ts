/**
 * The publishing functions. They are the same for direct calls, batches and the outbox; only the destination of the
 * message differs.
 */
import type { JsonOf } from "../client/definitions.ts";
import { invalid } from "./error.ts";
import { type BroadcastOptions, broadcastMessage, type ChangeOptions, changeMessage, type Message, type Operation } from "./message.ts";
import type { Namespace } from "./namespace.ts";
import { type ColumnOf, narrow, type Table, type Tables } from "./table.ts";

/** The columns of a table that may be published: any of them, as the database's library or JSON represents them. */
export type RowOf<These extends Tables, Name extends keyof These> = These[Name] extends Table<infer Row>
	? { [Column in keyof Row]?: Row[Column] | JsonOf<Row[Column]> }
	: object;

/** The names of the columns of a table. */
export type ColumnsOf<These extends Tables, Name extends keyof These> = These[Name] extends Table<infer Row> ? ColumnOf<Row> : string;

/**
 * The publishing functions.
 *
 * `Target` is the argument after the content: the organization, or nothing in a batch, which has one. `Call` holds the
 * options besides the message's own.
 */
export interface Publisher<Names extends Tables, Result, Target extends readonly unknown[] = [organizationId: string], Call = unknown> {
	/**
	 * A row was inserted.
	 *
	 * @example
	 * ```ts
	 * import { createRealtime } from "realtime-worker/server";
	 *
	 * const realtime = createRealtime(env);
	 * await realtime.insert("materials", { id: "mat_123", title: "Breaking News", status: "pending" }, orgId);
	 * await realtime.insert("employees", { id: "e1", ssn: "123-45-6789" }, orgId, {
	 *   targetRoles: ["admin", "hr"],
	 *   maskingConfig: { ssn: { type: "ssn", show: { roles: ["hr"], or: "owner" } } },
	 * });
	 * ```
	 */
	insert<Name extends keyof Names & string>(
		table: Name,
		row: RowOf<Names, Name>,
		...target: [...Target, options?: ChangeOptions<ColumnsOf<Names, Name>> & Call]
	): Result;

	/**
	 * A row was updated. Without the row before it (`null`), recipients that can no longer see the row are not
	 * informed.
	 *
	 * @example
	 * ```ts
	 * import { createRealtime } from "realtime-worker/server";
	 *
	 * const realtime = createRealtime(env);
	 * await realtime.update(
	 *   "materials",
	 *   { id: "mat_123", status: "completed" }, // new
	 *   { id: "mat_123", status: "pending" }, // old
	 *   orgId,
	 * );
	 * ```
	 */
	update<Name extends keyof Names & string>(
		table: Name,
		row: RowOf<Names, Name>,
		old: RowOf<Names, Name> | null,
		...target: [...Target, options?: ChangeOptions<ColumnsOf<Names, Name>> & Call]
	): Result;

	/**
	 * A row was deleted.
	 *
	 * @example
	 * ```ts
	 * import { createRealtime } from "realtime-worker/server";
	 *
	 * await createRealtime(env).delete("materials", { id: "mat_123" }, orgId);
	 * ```
	 */
	delete<Name extends keyof Names & string>(
		table: Name,
		old: RowOf<Names, Name>,
		...target: [...Target, options?: ChangeOptions<ColumnsOf<Names, Name>> & Call]
	): Result;

	/**
	 * Any message other than a row change.
	 *
	 * @example
	 * ```ts
	 * import { createRealtime } from "realtime-worker/server";
	 *
	 * const realtime = createRealtime(env);
	 * await realtime.broadcast("processing-complete", { materialId: "mat_123", claimCount: 5 }, orgId);
	 * await realtime.broadcast("task-assigned", { taskId: "task_123" }, orgId, { userId: "u7" });
	 * await realtime.broadcast("cursor", { x: 1, y: 2 }, orgId, { topic: "room:1", history: false });
	 * await realtime.broadcast("waveform", btoa("\x00\x7f"), orgId, { encoding: "base64" }); // bytes
	 * ```
	 */
	broadcast(event: string, payload: unknown, ...target: [...Target, options?: BroadcastOptions & Call]): Result;
}

/** A method for each event of each namespace. */
export type NamespaceMethods<
	Spaces extends readonly Namespace[],
	Result,
	Target extends readonly unknown[] = [organizationId: string],
	Call = unknown,
> = {
	readonly [Space in Spaces[number] as Space["name"]]: Space extends Namespace<string, infer Payloads>
		? {
				readonly [Event in keyof Payloads & string]: (
					payload: Payloads[Event],
					...target: [...Target, options?: BroadcastOptions & Call]
				) => Result;
			}
		: never;
};

/** The parameters of the functions. */
export interface Rules {
	readonly tables?: Tables | undefined;
	readonly namespaces?: readonly Namespace[] | undefined;
}

/** Handles a message, built from its options; `undefined` if the table does not publish it. */
export type Sink<Result> = (compose: (options: ChangeOptions) => Message | undefined, ...target: any[]) => Result;

/** The publishing functions whose messages go to `sink`. */
export function createPublisher<Result>({ tables, namespaces = [] }: Rules, sink: Sink<Result>) {
	const change = (table: string, operation: Operation, rows: { new: object | null; old: object | null }, target: any[]) =>
		sink((options) => {
			// Without `tables`, any table may be published. With them, a missing table would be published without its
			// rules.
			if (tables && !Object.hasOwn(tables, table)) throw invalid("table", "is not one of the tables of createRealtime");
			const narrowed = narrow(tables?.[table] ?? {}, operation, options);
			return narrowed && changeMessage(table, operation, rows, narrowed);
		}, ...target);
	const broadcast = (event: string, payload: unknown, ...target: any[]) =>
		sink((options) => broadcastMessage(event, payload, options), ...target);
	const methods = namespaces.map(({ name, events }) => {
		const method = (event: string) => (payload: unknown, ...target: any[]) => broadcast(`${name}:${event}`, payload, ...target);
		return [name, Object.fromEntries(events.map((event: string) => [event, method(event)]))];
	});
	return {
		...Object.fromEntries(methods),
		insert: (table: string, row: object, ...target: any[]) => change(table, "INSERT", { new: row, old: null }, target),
		update: (table: string, row: object, old: object | null, ...target: any[]) => change(table, "UPDATE", { new: row, old }, target),
		delete: (table: string, old: object, ...target: any[]) => change(table, "DELETE", { new: null, old }, target),
		broadcast,
	};
}
