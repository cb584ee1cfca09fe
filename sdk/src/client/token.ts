/**
 * The token: where it comes from, how long it is used, when it is replaced.
 */
import { RealtimeError } from "./error.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Why a token is asked for: for the first connection, since the last one is about to expire, or since the server has
 * refused it. After `rejected`, do not answer from a cache.
 */
export type TokenReason = "connect" | "refresh" | "rejected";

/** Where tokens come from: one that stays, such as an API key, or a function that fetches a session's. */
export type TokenSource =
	| { token: string; getToken?: never }
	| { getToken: (reason: TokenReason) => string | Promise<string>; token?: never };

/** A token is replaced this long before its end (milliseconds), or after nine tenths of its life if that is later. */
const MARGIN = 60_000;
/** A token that is good for less is not refreshed in time but when the server says so, which leaves 30 s for it. */
const SHORTEST = 2_000;

/** One token at a time. */
export class Tokens {
	/** When the token should be replaced, in Unix milliseconds; `undefined` when it does not tell, or not sensibly. */
	refreshAt: number | undefined;
	#source: TokenSource;
	#surroundings: Surroundings;
	#token: string | undefined;
	#reason: TokenReason = "connect";

	constructor(source: TokenSource, surroundings: Surroundings) {
		this.#source = source;
		this.#surroundings = surroundings;
	}

	/** Whether there can be another token than the one that was refused. */
	get renewable(): boolean {
		return this.#source.token === undefined;
	}

	/** The token, fetched where there is none that is still good. */
	async current(): Promise<string> {
		const due = this.refreshAt !== undefined && this.refreshAt <= this.#surroundings.now();
		if (this.#token !== undefined && !due) return this.#token;
		return (await this.#fetch(due ? "refresh" : this.#reason)).token;
	}

	/** Fetches the token that follows, and tells whether it is another one. */
	renew(): Promise<{ token: string; isNew: boolean }> {
		return this.#fetch("refresh");
	}

	/** The server has refused the token. */
	reject(): void {
		this.#token = undefined;
		this.#reason = "rejected";
	}

	async #fetch(reason: TokenReason): Promise<{ token: string; isNew: boolean }> {
		const { token: fixed, getToken } = this.#source;
		let token: string;
		try {
			token = fixed ?? (await getToken!(reason));
			if (typeof token !== "string" || !token) throw new TypeError("there is no token");
		} catch (cause) {
			throw new RealtimeError("token_failed", "getToken failed.", { cause });
		}
		const isNew = token !== this.#token;
		this.#token = token;
		this.#reason = "connect";
		this.refreshAt = refreshTime(token, this.#surroundings.now());
		return { token, isNew };
	}
}

/**
 * When a token should be replaced. One whose end has passed is good news for nobody but means that this device's clock
 * is wrong: then the server's word counts.
 */
function refreshTime(token: string, now: number): number | undefined {
	const left = expiry(token) - now;
	return left > SHORTEST ? now + left - Math.min(MARGIN, left / 10) : undefined;
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
