/**
 * One request to the Worker, from JSON text to a receipt or a {@link RealtimeError}.
 */
import { RealtimeError } from "./error.ts";

/** The Worker's answer to what it has accepted. It is durable by then. */
export interface Receipt {
	/** How many events the request held. */
	readonly accepted: number;
	/** Whether all of them had been accepted before, under the same ids. */
	readonly duplicate: boolean;
	/** The line of history that `offset` belongs to. */
	readonly epoch: string;
	/** The place of the last event in the organization's history. */
	readonly offset: number;
	/** How many frames were handed to sockets. */
	readonly delivered: number;
	/** Given where the organization has relays, whose sockets `delivered` does not count. */
	readonly deliveredAtLeast?: number;
}

/** What a service binding, or anything else that fetches, has to do. */
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

/** Where the Worker is, and who asks. */
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

/** The value of a JSON text, `null` of any other. */
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
