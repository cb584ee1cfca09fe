/**
 * Retries: with backoff and jitter, as late as the Worker asks, and not for ever.
 */
import { RealtimeError } from "./error.ts";

/** How often to retry, and how long to wait between attempts. */
export interface RetryOptions {
	/** Maximum requests, including the first. Default: 4. */
	readonly attempts?: number;
	/** The maximum wait before the second request, in milliseconds; each further wait may be twice as long. Default: 200. */
	readonly delay?: number;
	/** The maximum of one wait, in milliseconds; a longer `Retry-After` ends the retries. Default: 5000. */
	readonly maxDelay?: number;
}

/** Runs `attempt` until it succeeds or another attempt is pointless. */
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
			// Anything up to the full delay, so that clients that failed together do not retry together.
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
