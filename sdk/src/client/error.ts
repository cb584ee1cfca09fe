/**
 * What can go wrong, and what a code says about trying again.
 */

/**
 * A refusal of the server, or a failure on the way to it.
 *
 * `code` is one of the server's codes, or one of the client's own: `disconnected`, `dead_link`, `timeout`,
 * `token_failed`, `handler_failed`, `filter_undecidable`, `closed`, `invalid_url`, `invalid_organization`,
 * `invalid_position`, `no_websocket`.
 *
 * @example
 * ```ts
 * client.on.error((error) => {
 *   if (error.code === "forbidden") console.warn("not allowed:", error.target);
 * });
 * ```
 */
export class RealtimeError extends Error {
	override readonly name = "RealtimeError";
	/** The reason, for programs. */
	readonly code: string;
	/** The subscription it is about, where it is about one. */
	readonly target: object | undefined;

	constructor(code: string, message: string, about: { target?: object; cause?: unknown } = {}) {
		super(message, about);
		this.code = code;
		this.target = about.target;
	}
}

/** What helps after a connection has ended: another attempt, one with a fresh token, or nothing. */
export type Retry = "later" | "token" | "no";

/**
 * The retry rule of a code: that of an `auth_error`, or the reason of a close.
 *
 * The server's close reasons are its codes. A close without one of them (a proxy's, a network's) is worth another
 * attempt whatever its number.
 */
export function retryOf(code: string): Retry {
	if (code === "invalid_token" || code === "token_expired") return "token";
	// These need another client: other options, another runtime, or another user.
	return /^(wrong_(organization|user)|(auth_requir|realtime_disabl)ed|invalid_(url|organization)|no_websocket)$/.test(code) ? "no" : "later";
}
