/**
 * Failures of the connection: which of them to report, and what helps.
 */
import type { Status } from "./connection.ts";
import { type RealtimeError, retryOf } from "./error.ts";

/** What to do about a failure, by its code. */
const REMEDIES: Readonly<Record<string, string>> = {
	invalid_url: "Give createClient the Worker's address, such as https://realtime.example.com.",
	invalid_organization: "Set the option organizationId.",
	wrong_organization: "Set the option organizationId to the token's.",
	wrong_user: "Make a client for each user.",
	invalid_token: "Does it fit the Worker's JWT_SECRET or JWKS_URL?",
	token_expired: "Let getToken return a new token.",
	token_failed: "Let getToken return a string.",
	no_websocket: "Use Node 22, or set the option WebSocket.",
	disconnected: "Is the Worker running? Does ALLOWED_ORIGINS name this page?",
	timeout: "Is the Worker reachable? Does getToken settle?",
	invalid_position: "Set the option position to what client.position was.",
	forbidden: "Has the user a role that the table or the channel asks for?",
};

/** One console line about a failure: what failed, why, and what helps. */
export function describe({ code, message, cause, target }: RealtimeError): string {
	const about = target ? ` (${JSON.stringify(target)})` : "";
	const reason = cause instanceof Error ? ` ${cause.message}.` : "";
	return `realtime-worker: ${code}${about}: ${message}${reason} ${REMEDIES[code] ?? ""}`.trim();
}

/** The failures of a connection since it was last established. */
export class Outage {
	#told = new Set<string>();
	#stood = false;

	/**
	 * Whether an attempt has failed. The end of an established connection does not count, because another attempt may
	 * fix it.
	 */
	isFailure({ state, error }: Status): boolean {
		if (!error) return false;
		// A rejected token is replaced; it is a failure only if that does not help.
		return state === "closed" || (!this.#stood && retryOf(error.code) !== "token");
	}

	/** Follows the connection; returns the failure to report, each kind only once. */
	hear(status: Status): RealtimeError | undefined {
		const { state, error } = status;
		if (state === "connected") this.#told.clear();
		const isNews = this.isFailure(status) || error?.code === "too_many_errors";
		this.#stood = state === "connected" || (this.#stood && state !== "connecting");
		if (!error || !isNews || this.#told.has(error.code)) return undefined;
		this.#told.add(error.code);
		return error;
	}
}
