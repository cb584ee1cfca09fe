/**
 * The events that handlers can be added for.
 */
import type { Status } from "./connection.ts";
import type { BroadcastOf, ChangeOf, ChangeType, Definitions, EventName, TableName } from "./definitions.ts";
import type { RealtimeError } from "./error.ts";
import type { Handler, Off } from "./listeners.ts";
import type { TableOptions } from "./options.ts";
import type { Gap } from "./stream.ts";
import type { Subscription } from "./subscription.ts";

/** Adds handlers. They run in the order of the events, and are not awaited. */
export interface On<D extends Definitions> {
	/**
	 * Calls with the changes of a table (`"*"`: any) and of one kind (`"*"`: any). It never throws: a refusal rejects
	 * `ready` and is reported by `on.error`.
	 *
	 * @example
	 * ```ts
	 * client.on("claims", "UPDATE", ({ new: claim }) => show(claim), { filter: "status=eq.open" });
	 * ```
	 */
	<T extends TableName<D> | "*", E extends ChangeType | "*">(
		table: T,
		event: E,
		handler: Handler<ChangeOf<D, T, E>>,
		options?: TableOptions,
	): Subscription;
	/**
	 * Calls with the broadcasts to the whole organization, of one event or of any (`"*"`).
	 *
	 * @example
	 * ```ts
	 * client.on.broadcast("extraction:started", ({ payload }) => console.log(payload.materialId));
	 * ```
	 */
	broadcast<E extends EventName<D> | "*">(event: E, handler: Handler<BroadcastOf<D, E>>): Off;
	/**
	 * Calls when missed events cannot be recovered: reload what you show.
	 *
	 * @example
	 * ```ts
	 * client.on.gap(() => location.reload());
	 * ```
	 */
	gap(handler: Handler<Gap>): Off;
	/**
	 * Calls when the state changes.
	 *
	 * @example
	 * ```ts
	 * client.on.status(({ state }) => (badge.textContent = state));
	 * ```
	 */
	status(handler: Handler<Status>): Off;
	/**
	 * Calls with refusals, with errors that prevent a connection (each kind once until the client has connected), and
	 * with what handlers throw. Without a handler, each error is one line on the console that says what helps.
	 *
	 * @example
	 * ```ts
	 * client.on.error(({ code, message }) => log(code, message));
	 * ```
	 */
	error(handler: Handler<RealtimeError>): Off;
}
