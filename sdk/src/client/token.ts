/**
 * The token: where it comes from, how long it is used, and when it is replaced.
 */
import { RealtimeError } from "./error.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Why a token is requested: for the first connection, because the last one is about to expire, or because the server
 * has rejected it or reported that it has expired. After `rejected`, do not answer from a cache.
 */
export type TokenReason = "connect" | "refresh" | "rejected";

/** Where tokens come from: a fixed one, such as an API key, or a function that fetches a session token. */
export type TokenSource =
	| { token: string; getToken?: never }
	| { getToken: (reason: TokenReason) => string | Promise<string>; token?: never };

/** A token is replaced this long before it expires (milliseconds), or after nine tenths of its life if that is later. */
const MARGIN = 60_000;
/** A token with a shorter life is refreshed when the server reports its expiry, which leaves 30 s for it. */
const SHORTEST = 2_000;

/** One token at a time. */
export class Tokens {
	/** When the token should be replaced, in Unix milliseconds; `Infinity` if it has no expiry, or an implausible one. */
	refreshAt = Infinity;
	#source: TokenSource;
	#surroundings: Surroundings;
	#token: string | undefined;
	/** Why the next one is requested. */
	#reason: TokenReason = "connect";

	constructor(source: TokenSource, surroundings: Surroundings) {
		this.#source = source;
		this.#surroundings = surroundings;
	}

	/** Whether there can be another token than the rejected one. */
	get renewable(): boolean {
		return this.#source.token === undefined;
	}

	/** The token, fetched if there is none that is still valid. */
	async current(): Promise<string> {
		const isGood = this.#reason === "refresh" && this.refreshAt > this.#surroundings.now();
		return isGood ? this.#token! : this.renew();
	}

	/** Fetches the next token. */
	async renew(): Promise<string> {
		const { token: fixed, getToken } = this.#source;
		try {
			const token = fixed ?? (await getToken!(this.#reason));
			if (typeof token !== "string" || !token) throw new TypeError("there is no token");
			this.#reason = "refresh";
			this.refreshAt = refreshTime(token, this.#surroundings.now());
			return (this.#token = token);
		} catch (cause) {
			throw new RealtimeError("token_failed", "getToken failed.", { cause });
		}
	}

	/** The server has rejected the token, or reports that it has expired. */
	reject(): void {
		this.#reason = "rejected";
	}
}

/**
 * When a token should be replaced. If the expiry of a new token has passed, this device's clock must be wrong, so the
 * server decides.
 */
function refreshTime(token: string, now: number): number {
	const left = expiry(token) - now;
	return left > SHORTEST ? now + left - Math.min(MARGIN, left / 10) : Infinity;
}

/** The `exp` of a JWT in Unix milliseconds; `NaN` for anything else. */
function expiry(token: string): number {
	try {
		const claims = token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
		return JSON.parse(atob(claims)).exp * 1000;
	} catch {
		return NaN;
	}
}
