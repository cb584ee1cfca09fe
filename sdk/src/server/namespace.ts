/**
 * Namespaces of the application's own events, with the types of their payloads.
 */
import { invalid } from "./error.ts";

declare const payloadType: unique symbol;

/** The type of an event's payload, created by {@link payload}. */
export interface Payload<Type> {
	/** @internal Only a type. */
	readonly [payloadType]?: Type;
}

/** Events: their names, or their names with the types of their payloads. */
export type Events = readonly string[] | Readonly<Record<string, Payload<any>>>;

/** A namespace of {@link defineRealtime}. `Payloads` maps its events to the types of their payloads. */
export interface Namespace<Name extends string = string, Payloads = any> {
	/** The part before the colon. */
	readonly name: Name;
	/** The names of the events. */
	readonly events: readonly (keyof Payloads & string)[];
	/** For readers. */
	readonly description: string | undefined;
	/** @internal Only a type. */
	readonly [payloadType]?: Payloads;
}

/** The types of the payloads by event; `unknown` for an event that is only named. */
export type PayloadsOf<These extends Events> = These extends readonly (infer Name extends string)[]
	? { [Event in Name]: unknown }
	: { [Event in keyof These]: These[Event] extends Payload<infer Type> ? Type : never };

/**
 * The type of an event's payload, for {@link defineRealtime}. It has no value at run time.
 *
 * @example
 * ```ts
 * import { createRealtime, defineRealtime, payload } from "realtime-worker/server";
 *
 * const presence = defineRealtime({ name: "presence", events: { joined: payload<{ userId: string }>() } });
 * await createRealtime(env, { namespaces: [presence] }).presence.joined({ userId: "u7" }, orgId);
 * ```
 */
export function payload<Type>(): Payload<Type> {
	return {};
}

/**
 * Defines a namespace: `createRealtime(env, { namespaces: [extraction] })` has a method for each of its events, and
 * `realtime.extraction.started(…)` sends `extraction:started`.
 *
 * @example
 * ```ts
 * import { createRealtime, defineRealtime, payload } from "realtime-worker/server";
 *
 * const extraction = defineRealtime({
 *   name: "extraction",
 *   events: {
 *     started: payload<{ materialId: string }>(),
 *     progress: payload<{ materialId: string; percent: number }>(),
 *   },
 *   description: "Material extraction pipeline events",
 * });
 * // Names alone do too; the payloads are of any type then.
 * const notifications = defineRealtime({ name: "notifications", events: ["new", "read", "dismissed"] });
 *
 * const realtime = createRealtime(env, { namespaces: [extraction, notifications] });
 * await realtime.extraction.progress({ materialId: "mat_1", percent: 50 }, orgId);
 * await realtime.notifications.new({ title: "Done" }, orgId, { userId: "u7" });
 * ```
 */
export function defineRealtime<const Name extends string, const These extends Events>(definition: {
	readonly name: Name;
	readonly events: These;
	readonly description?: string;
}): Namespace<Name, PayloadsOf<These>> {
	const { name, events, description } = definition;
	if (RESERVED.includes(name)) throw invalid("name", `${name} is a function of createRealtime`);
	const names = (Array.isArray(events) ? events : Object.keys(events)) as (keyof PayloadsOf<These> & string)[];
	return { name, events: names, description };
}

const RESERVED = ["insert", "update", "delete", "broadcast", "batch", "outbox", "flush", "then"];
