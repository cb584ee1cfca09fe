/**
 * `createRealtime`: connects an API worker to the realtime Worker.
 */
import { RealtimeError } from "./error.ts";
import type { Message } from "./message.ts";
import type { Namespace } from "./namespace.ts";
import { createOutbox, type Outbox } from "./outbox.ts";
import { createPublisher, type NamespaceMethods, type Publisher } from "./publisher.ts";
import { type Endpoint, post, type Receipt, type Service } from "./request.ts";
import { type RetryOptions, retry } from "./retry.ts";
import type { D1, D1Statement, Sql } from "./sql.ts";
import type { Tables } from "./table.ts";

/** The variables and bindings of the API worker that `createRealtime` reads. */
export interface RealtimeEnv {
	/** A service binding to the realtime Worker. With it, no request leaves Cloudflare's network. */
	readonly REALTIME?: Service;
	/** The address of the realtime Worker, if there is no binding. */
	readonly REALTIME_URL?: string;
	/** The realtime Worker's `ACCESS_TOKEN`. */
	readonly ACCESS_TOKEN: string;
}

/** The options; each has a default. */
export interface RealtimeOptions<Names extends Tables = Tables, Spaces extends readonly Namespace[] = readonly Namespace[]> {
	/** Tables of `defineTable`. With them, no other table can be published. */
	readonly tables?: Names;
	/** Namespaces of `defineRealtime`. */
	readonly namespaces?: Spaces;
	/** How often to retry. */
	readonly retry?: RetryOptions;
	/** Milliseconds for one request. Default: 5000. */
	readonly timeout?: number;
	/** Replaces the global `fetch` if there is no service binding. */
	readonly fetch?: Service["fetch"];
}

/** The options of a single call besides the message's own. */
export interface CallOptions {
	/** Stops retrying; the call rejects with the signal's reason. */
	readonly signal?: AbortSignal;
}

/** The result of a publication: nothing if the table's options disable it. */
export type Published = Promise<Receipt | undefined>;

/** The functions inside a batch. They take no organization, because the batch has one. */
export type Batch<Names extends Tables, Spaces extends readonly Namespace[]> = Publisher<Names, void, []> &
	NamespaceMethods<Spaces, void, []>;

/** The result of {@link createRealtime}. */
export type Realtime<Names extends Tables = Tables, Spaces extends readonly Namespace[] = readonly []> = Publisher<
	Names,
	Published,
	[organizationId: string],
	CallOptions
> &
	NamespaceMethods<Spaces, Published, [organizationId: string], CallOptions> & {
		/**
		 * Publishes up to 100 messages of one organization in one request: accepted or rejected together, delivered in
		 * order.
		 *
		 * @example
		 * ```ts
		 * import { createRealtime } from "realtime-worker/server";
		 *
		 * const realtime = createRealtime(env);
		 * await realtime.batch(orgId, (batch) => {
		 *   batch.insert("claims", { id: "c1" });
		 *   batch.update("materials", { id: "m1", claims: 1 }, { id: "m1", claims: 0 });
		 *   batch.broadcast("processing-complete", { materialId: "m1" }, { userId: "u7" });
		 * });
		 * ```
		 */
		batch(organizationId: string, compose: (batch: Batch<Names, Spaces>) => unknown, options?: CallOptions): Published;

		/**
		 * An outbox in a database: a publication is written in the transaction of the row, and sent by `flush`.
		 *
		 * @example
		 * ```ts
		 * import { createRealtime } from "realtime-worker/server";
		 *
		 * const outbox = createRealtime(env).outbox(env.DB);
		 * await env.DB.batch([
		 *   env.DB.prepare("INSERT INTO claims (id, title) VALUES (?, ?)").bind("c1", "First"),
		 *   outbox.insert("claims", { id: "c1", title: "First" }, orgId),
		 * ]);
		 * ctx.waitUntil(outbox.flush({ organizationId: orgId })); // and outbox.flush() in the cron trigger
		 * ```
		 */
		outbox<Statement extends D1Statement>(database: D1<Statement>): Outbox<Names, Spaces, Statement>;
		outbox<Statement>(database: Sql<Statement>): Outbox<Names, Spaces, Statement>;
	};

/**
 * Connects to the realtime Worker: through the service binding `REALTIME` if there is one, otherwise at `REALTIME_URL`.
 * It holds no state between calls, so it can be created per request.
 *
 * @throws {RealtimeError} `configuration`, when a variable is missing
 *
 * @example
 * ```ts
 * import { createRealtime } from "realtime-worker/server";
 *
 * const realtime = createRealtime(env, { retry: { attempts: 3 }, timeout: 2_000 });
 * const receipt = await realtime.insert("claims", { id: "c1", title: "First" }, orgId);
 * console.log(receipt?.offset, receipt?.delivered);
 * ```
 */
export function createRealtime<const Names extends Tables = Tables, const Spaces extends readonly Namespace[] = readonly []>(
	env: RealtimeEnv,
	options: RealtimeOptions<Names, Spaces> = {},
): Realtime<Names, Spaces> {
	const endpoint = locate(env, options);
	const send = (body: object, signal?: AbortSignal): Promise<Receipt> => {
		// Once, so that every attempt sends the same ids.
		const text = JSON.stringify(body);
		return retry(options.retry ?? {}, signal, () => post(endpoint, text, signal));
	};
	const sendAll = (organizationId: string, messages: readonly unknown[], signal?: AbortSignal) =>
		send({ organizationId, messages }, signal);

	const publisher = createPublisher(options, async (compose, organizationId: string, { signal, ...rest } = {}) => {
		const message = compose(rest);
		return message && send({ ...message, organizationId }, signal);
	});
	const batch = async (organizationId: string, compose: (batch: any) => unknown, { signal }: CallOptions = {}) => {
		const messages: Message[] = [];
		await compose(
			createPublisher(options, (composeOne, rest = {}) => {
				const message = composeOne(rest);
				if (message) messages.push(message);
			}),
		);
		return messages.length > 0 ? sendAll(organizationId, messages, signal) : undefined;
	};
	const outbox = (database: any) => createOutbox(options, sendAll, database);
	return { ...publisher, batch, outbox } as unknown as Realtime<Names, Spaces>;
}

function locate(env: RealtimeEnv, options: RealtimeOptions): Endpoint {
	const { REALTIME: binding, REALTIME_URL: url, ACCESS_TOKEN: token } = env;
	if (!token) throw new RealtimeError("configuration", "ACCESS_TOKEN is not set");
	const timeout = options.timeout ?? 5_000;
	// A binding accepts any address.
	if (binding) return { service: binding, url: "https://realtime", token, timeout };
	if (!url) throw new RealtimeError("configuration", "neither REALTIME nor REALTIME_URL is set");
	const service = { fetch: options.fetch ?? ((address, init) => fetch(address, init)) } satisfies Service;
	return { service, url: url.replace(/\/+$/, ""), token, timeout };
}
