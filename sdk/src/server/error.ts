/**
 * The error of a failed publication.
 */

/**
 * Why a publication did not happen: the Worker's own codes of `POST /broadcast`, and four for when it gave no answer of its own.
 *
 * - `network`: no answer came. `timeout`: none came in time. What was sent may have been delivered.
 * - `unexpected_answer`: whatever answered is not the Worker; look at `REALTIME_URL`.
 * - `configuration`: a variable is missing, here (status 0) or in the Worker (status 500).
 */
export type RealtimeErrorCode =
	| "invalid_request"
	| "unknown_mask_type"
	| "unauthorized"
	| "not_found"
	| "method_not_allowed"
	| "payload_too_large"
	| "unsupported_media_type"
	| "rate_limited"
	| "configuration"
	| "internal"
	| "overloaded"
	| "network"
	| "timeout"
	| "unexpected_answer";

/** The details of a {@link RealtimeError} besides its code and message. */
export interface RealtimeErrorDetails {
	/** The HTTP status. */
	readonly status?: number;
	/** The path of the offending key. */
	readonly field?: string | undefined;
	/** Seconds. */
	readonly retryAfter?: number | undefined;
	/** The underlying error. */
	readonly cause?: unknown;
}

/**
 * A failed publication. Everything worth a retry has been retried by then. The message contains no secret and no value
 * of a payload.
 *
 * @example
 * ```ts
 * import { createRealtime, RealtimeError } from "realtime-worker/server";
 *
 * const realtime = createRealtime(env);
 * try {
 *   await realtime.broadcast("", {}, orgId);
 * } catch (error) {
 *   if (!(error instanceof RealtimeError)) throw error;
 *   console.log(error.code, error.status, error.field, error.retryable); // invalid_request 400 event false
 * }
 * ```
 */
export class RealtimeError extends Error {
	override readonly name = "RealtimeError";
	/** The reason. A newer Worker may send codes that this package does not know. */
	readonly code: RealtimeErrorCode | (string & {});
	/** The HTTP status; 0 if no answer arrived. */
	readonly status: number;
	/** The path of the offending key of the request, such as `maskingConfig.ssn.type`. */
	readonly field: string | undefined;
	/** Seconds that the Worker asked to wait. */
	readonly retryAfter: number | undefined;

	/** Errors are made by the helper. */
	constructor(code: RealtimeError["code"], message: string, details: RealtimeErrorDetails = {}) {
		super(message, { cause: details.cause });
		this.code = code;
		this.status = details.status ?? 0;
		this.field = details.field;
		this.retryAfter = details.retryAfter;
	}

	/** Whether the same request may succeed later. With the same `id` it is still delivered at most once (within 10 minutes). */
	get retryable(): boolean {
		const { code, status } = this;
		if (status === 0) return code === "network" || code === "timeout";
		return status === 429 || (status >= 500 && code !== "configuration");
	}
}

/** A mistake of the caller, found without asking the Worker. */
export function invalid(field: string, what: string): RealtimeError {
	return new RealtimeError("invalid_request", `${field} ${what}`, { field });
}
