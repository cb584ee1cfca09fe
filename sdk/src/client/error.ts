/**
 * Errors, and what each code says about retrying.
 */

/**
 * A refusal by the server, or a failure to reach it.
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
	/** The subscription that it concerns, if any. */
	readonly target: object | undefined;

	constructor(code: string, message: string, about: { target?: object; cause?: unknown } = {}) {
		super(message, about);
		this.code = code;
		this.target = about.target;
	}
}

/** What helps after a connection has ended: another attempt, an attempt with a fresh token, or nothing. */
export type Retry = "later" | "token" | "no";

/**
 * The retry rule of a code: that of an `auth_error`, or the reason of a close.
 *
 * The server's close reasons are its codes. After a close without one of them (by a proxy or the network), another
 * attempt is worthwhile, whatever its number.
 */
export function retryOf(code: string): Retry {
	if (code === "invalid_token" || code === "token_expired") return "token";
	// These need another client: with other options, in another runtime, or for another user.
	return /^(wrong_(organization|user)|(auth_requir|realtime_disabl)ed|invalid_(url|organization)|no_websocket)$/.test(code) ? "no" : "later";
}
