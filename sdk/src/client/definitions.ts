/**
 * The types of what an application publishes; handlers, topics and presence are typed with them.
 */

/**
 * The shape of an application's definitions. Every part is optional; what is not defined is `unknown`.
 *
 * @example
 * ```ts
 * type App = {
 *   tables: { claims: { id: string; title: string; status: "open" | "closed" } };
 *   broadcasts: { "extraction:started": { materialId: string } };
 *   topics: { [room: `room:${string}`]: { cursor: { x: number; y: number } } };
 *   presence: { name: string };
 * };
 * const client = createClient<App>(url, options);
 * client.on("claims", "INSERT", ({ new: claim }) => console.log(claim.title));
 * ```
 */
export interface Definitions {
	/** The row of each table. */
	tables?: object;
	/** The payload of each broadcast to the whole organization, by event. */
	broadcasts?: object;
	/** The payloads of each topic's broadcasts, by topic and event; a topic may be a template such as `room:${string}`. */
	topics?: object;
	/** The metadata of present members. */
	presence?: object;
}

/** Any row, for tables that are not defined. */
export type Row = Record<string, unknown>;

/** The kind of a row change. */
export type ChangeType = "INSERT" | "UPDATE" | "DELETE";

interface Frame {
	readonly type: "postgres_changes";
	readonly schema: string;
	/** The topic that it was published to; absent if it went to the whole organization. */
	readonly topic?: string;
	/** Its offset in the organization's stream. An event that is not stored has the offset of the last stored one. */
	readonly offset: number;
}

/** A new row, or one that has become visible to this user. */
export interface Insert<R = Row, T extends string = string> extends Frame {
	readonly table: T;
	readonly eventType: "INSERT";
	readonly new: R;
	readonly old: null;
}

/** A changed row. `old` is present if the publisher sent it. */
export interface Update<R = Row, T extends string = string> extends Frame {
	readonly table: T;
	readonly eventType: "UPDATE";
	readonly new: R;
	readonly old: Partial<R> | null;
}

/** A row that was deleted, or that has become invisible to this user; often it has only its key. */
export interface Delete<R = Row, T extends string = string> extends Frame {
	readonly table: T;
	readonly eventType: "DELETE";
	readonly new: null;
	readonly old: Partial<R>;
}

/**
 * A row change; `eventType` says which kind.
 *
 * @example
 * ```ts
 * function follow(change: Change<Claim>) {
 *   if (change.eventType === "DELETE") remove(change.old.id);
 *   else put(change.new);
 * }
 * client.on("claims", "*", follow);
 * ```
 */
export type Change<R = Row, E extends ChangeType | "*" = "*", T extends string = string> = {
	INSERT: Insert<R, T>;
	UPDATE: Update<R, T>;
	DELETE: Delete<R, T>;
}[E extends ChangeType ? E : ChangeType];

/**
 * A message with an event name chosen by the application.
 *
 * @example
 * ```ts
 * client.on.broadcast("extraction:started", ({ payload }) => console.log(payload.materialId));
 * ```
 */
export interface Broadcast<P = unknown, E extends string = string> {
	readonly type: "broadcast";
	readonly event: E;
	readonly payload: P;
	/** The topic that it was published to; absent if it went to the whole organization. */
	readonly topic?: string;
	/** Its offset in the organization's stream. An event that is not stored has the offset of the last stored one. */
	readonly offset: number;
}

type Part<D extends Definitions, K extends keyof Definitions, Otherwise> =
	D extends Record<K, infer P extends object> ? P : Otherwise;
type Named<P> = Extract<keyof P, string>;

/** The names of the defined tables. */
export type TableName<D extends Definitions> = Named<Part<D, "tables", Record<string, Row>>>;

/** The row of a table. */
export type RowOf<D extends Definitions, T extends TableName<D>> = Part<D, "tables", Record<string, Row>>[T];

/** The change that a handler for table `T` (or `"*"`) and event `E` receives. */
export type ChangeOf<D extends Definitions, T extends TableName<D> | "*", E extends ChangeType | "*"> =
	T extends TableName<D>
		? Change<RowOf<D, T>, E, Unqualified<T>>
		: { [K in TableName<D>]: Change<RowOf<D, K>, E, Unqualified<K>> }[TableName<D>];

/** The name of a table without its schema, as changes have it. */
type Unqualified<T extends string> = T extends `${string}.${infer Name}` ? Name : T;

/** The names of the defined broadcasts. */
export type EventName<D extends Definitions> = Named<Part<D, "broadcasts", Record<string, unknown>>>;

/** The broadcast that a handler for event `E` (or `"*"`) receives. */
export type BroadcastOf<D extends Definitions, E extends EventName<D> | "*"> =
	BroadcastIn<Part<D, "broadcasts", Record<string, unknown>>, E>;

/** The names, or templates of names, of the defined topics. */
export type TopicName<D extends Definitions> = Named<Part<D, "topics", Record<string, Record<string, unknown>>>>;

/** The payloads of a topic, by event. */
export type TopicEvents<D extends Definitions, N extends TopicName<D>> =
	Part<D, "topics", Record<string, Record<string, unknown>>>[N];

/** The metadata of present members. */
export type PresenceOf<D extends Definitions> = Part<D, "presence", Record<string, unknown>>;

/** The broadcast of event `E` among `Events`. */
export type BroadcastIn<Events, E extends string> =
	E extends Named<Events> ? Broadcast<Events[E], E> : { [K in Named<Events>]: Broadcast<Events[K], K> }[Named<Events>];

/**
 * A value after a round trip through JSON: a `Date` becomes text, and so does any value whose `toJSON` returns text.
 * What JSON cannot express is absent. Rows of `DefinitionsOf` have this type, and so do the answers of an API that
 * serves them, such as those of Hono's `hc`.
 *
 * @example
 * ```ts
 * type Row = { id: string; createdAt: Date; tags: string[] };
 * const row: JsonOf<Row> = { id: "c1", createdAt: "2026-01-01T00:00:00.000Z", tags: [] };
 * console.log(new Date(row.createdAt).getFullYear());
 * ```
 */
export type JsonOf<T> = unknown extends T
	? T
	: T extends { toJSON(): infer Json }
		? JsonOf<Json>
		: T extends string | number | boolean | null | undefined
			? T
			: T extends readonly (infer Item)[]
				? JsonOf<Item>[]
				: T extends object
					? { [K in keyof T as K extends symbol ? never : T[K] extends Wordless ? never : K]: JsonOf<T[K]> }
					: never;

/** What JSON omits from objects. */
type Wordless = symbol | ((...given: never[]) => unknown);

/** The type that a definition of `realtime-worker/server` carries under its symbol. */
type Marked<T> = T extends object ? NonNullable<T[Extract<keyof T, symbol>]> : never;
type Events<N> = N extends { readonly name: infer Name extends string }
	? { [E in Named<Marked<N>> as `${Name}:${E}`]: JsonOf<Marked<N>[E]> }
	: never;
type Merged<U> = (U extends unknown ? (one: U) => void : never) extends (all: infer All) => void ? All : never;

/**
 * The definitions that the API worker publishes with: the tables of `defineTable` and the namespaces of
 * `defineRealtime`, as passed to `createRealtime`.
 *
 * @example
 * ```ts
 * // definitions.ts, which both import
 * const extraction = defineRealtime({ name: "extraction", events: { started: payload<{ materialId: string }>() } });
 * export const tables = { claims: defineTable<Claim>({ requiredRoles: ["member"] }) };
 * export const namespaces = [extraction] as const;
 * export type App = DefinitionsOf<{ tables: typeof tables; namespaces: typeof namespaces }>;
 *
 * // the page
 * const client = createClient<App>(url, options);
 * client.on("claims", "INSERT", ({ new: claim }) => console.log(claim.title));
 * client.on.broadcast("extraction:started", ({ payload }) => console.log(payload.materialId));
 * ```
 */
export type DefinitionsOf<S extends { tables?: object; namespaces?: readonly unknown[] }> = {
	tables: { [T in keyof S["tables"]]: JsonOf<Marked<S["tables"][T]>> };
	broadcasts: S["namespaces"] extends readonly (infer N)[] ? Merged<Events<N>> : object;
};
