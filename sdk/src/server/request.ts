/**
 * One request to the Worker, from JSON text to a receipt or a {@link RealtimeError}.
 */
import { RealtimeError } from "./error.ts";

/** The Worker's answer to an accepted request, whose events are durable by then. */
export interface Receipt {
	/** How many events the request held. */
	readonly accepted: number;
	/** Whether all of them had been accepted before with the same ids. */
	readonly duplicate: boolean;
	/** The epoch of `offset`. */
	readonly epoch: string;
	/** The offset of the last event in the organization's stream. */
	readonly offset: number;
	/** How many frames were handed to sockets. */
	readonly delivered: number;
	/** Present if the organization has relays, whose sockets `delivered` does not count. */
	readonly deliveredAtLeast?: number;
}

/** What a service binding, or any other fetcher, must provide. */
export interface Service {
	fetch(
		url: string,
		init: {
			method: string;
			headers: Record<string, string>;
			body: string;
			redirect: "manual";
			signal: AbortSignal;
		},
	): Promise<{ readonly status: number; readonly headers: { get(name: string): string | null }; text(): Promise<string> }>;
}

/** The address of the Worker, and the credential. */
export interface Endpoint {
	readonly service: Service;
	/** The address without a path. */
	readonly url: string;
	readonly token: string;
	/** Milliseconds for one request. */
	readonly timeout: number;
}

/** Posts a body to `/broadcast`. */
export async function post(endpoint: Endpoint, body: string, signal?: AbortSignal): Promise<Receipt> {
	const deadline = AbortSignal.timeout(endpoint.timeout);
	let response: Awaited<ReturnType<Service["fetch"]>>;
	let text: string;
	try {
		signal?.throwIfAborted();
		response = await endpoint.service.fetch(`${endpoint.url}/broadcast`, {
			method: "POST",
			headers: { authorization: `Bearer ${endpoint.token}`, "content-type": "application/json" },
			body,
			// A redirected POST would become a GET somewhere else.
			redirect: "manual",
			signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
		});
		text = await response.text();
	} catch (cause) {
		signal?.throwIfAborted();
		throw new RealtimeError(deadline.aborted ? "timeout" : "network", "no answer came", { cause });
	}
	const { status } = response;
	const answer = parse(text) as (Receipt & { readonly error?: { code: string; message: string; field?: string } }) | null;
	if (status === 202 && answer) return answer;
	const retryAfter = seconds(response.headers.get("retry-after"));
	const { code, message, field } = answer?.error ?? { code: "unexpected_answer", message: `the answer is not the Worker's: ${status}` };
	throw new RealtimeError(code, message, { status, field, retryAfter });
}

/** The value of a JSON text; `null` for any other text. */
export function parse(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return null;
	}
}

/** `Retry-After` is a number of seconds or a date. */
function seconds(header: string | null): number | undefined {
	const number = header ? Number(header) : 0;
	const value = number >= 0 ? number : (Date.parse(header!) - Date.now()) / 1_000;
	return value > 0 ? value : undefined;
}
