/**
 * Trying again: with backoff and jitter, as late as the Worker asks, and not forever.
 */
import { RealtimeError } from "./error.ts";

/** How often to try, and how long to wait in between. */
export interface RetryOptions {
	/** Requests at most, the first among them. Default: 4. */
	readonly attempts?: number;
	/** Milliseconds before the second request, at most; each further wait may be twice as long. Default: 200. */
	readonly delay?: number;
	/** Milliseconds of one wait at most; a longer `Retry-After` ends the trying. Default: 5000. */
	readonly maxDelay?: number;
}

/** Runs `attempt` until it succeeds or another try makes no sense. */
export async function retry<Result>(
	{ attempts = 4, delay = 200, maxDelay = 5_000 }: RetryOptions,
	signal: AbortSignal | undefined,
	attempt: () => Promise<Result>,
): Promise<Result> {
	for (let tried = 1; ; tried += 1) {
		try {
			return await attempt();
		} catch (error) {
			if (!(error instanceof RealtimeError && error.retryable) || tried >= attempts) throw error;
			const asked = (error.retryAfter ?? 0) * 1_000;
			if (asked > maxDelay) throw error;
			// Anything up to the full delay, so that those who failed together do not come back together.
			const backoff = Math.random() * Math.min(maxDelay, delay * 2 ** (tried - 1));
			await sleep(asked + backoff, signal);
		}
	}
}

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
	return new Promise((resolve, reject) => {
		const stop = () => {
			clearTimeout(timer);
			reject(signal?.reason);
		};
		const timer = setTimeout(() => {
			signal?.removeEventListener("abort", stop);
			resolve();
		}, milliseconds);
		signal?.addEventListener("abort", stop, { once: true });
		if (signal?.aborted) stop();
	});
}
