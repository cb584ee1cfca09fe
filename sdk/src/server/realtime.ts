/**
 * `createRealtime`: an API worker's way to the realtime Worker.
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

/** What `createRealtime` reads of the API worker's variables and bindings. */
export interface RealtimeEnv {
	/** A service binding to the realtime Worker. Where there is one, no request leaves Cloudflare's network. */
	readonly REALTIME?: Service;
	/** The address of the realtime Worker, where there is no binding. */
	readonly REALTIME_URL?: string;
	/** The realtime Worker's `ACCESS_TOKEN`. */
	readonly ACCESS_TOKEN: string;
}

/** What can be set; everything has a default. */
export interface RealtimeOptions<Names extends Tables = Tables, Spaces extends readonly Namespace[] = readonly Namespace[]> {
	/** Tables of `defineTable`. With them, no other table can be published. */
	readonly tables?: Names;
	/** Namespaces of `defineRealtime`. */
	readonly namespaces?: Spaces;
	/** How often to try. */
	readonly retry?: RetryOptions;
	/** Milliseconds for one request. Default: 5000. */
	readonly timeout?: number;
	/** Instead of the global `fetch`, where there is no service binding. */
	readonly fetch?: Service["fetch"];
}

/** What a single call may set beside the message's options. */
export interface CallOptions {
	/** Stops trying; the call rejects with the signal's reason. */
	readonly signal?: AbortSignal;
}

/** What a publication resolves to: nothing, when the table's options switch it off. */
export type Published = Promise<Receipt | undefined>;

/** The functions inside a batch: they take no organization, for the batch has one. */
export type Batch<Names extends Tables, Spaces extends readonly Namespace[]> = Publisher<Names, void, []> &
	NamespaceMethods<Spaces, void, []>;

/** What {@link createRealtime} gives. */
export type Realtime<Names extends Tables = Tables, Spaces extends readonly Namespace[] = readonly []> = Publisher<
	Names,
	Published,
	[organizationId: string],
	CallOptions
> &
	NamespaceMethods<Spaces, Published, [organizationId: string], CallOptions> & {
		/**
		 * Publishes up to 100 messages of one organization in one request: accepted or refused as one, delivered in order.
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
		 * An outbox in a database: what is to be published is written in the transaction of the row, and published by `flush`.
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
 * Connects to the realtime Worker: through the service binding `REALTIME` where there is one, else at `REALTIME_URL`. It
 * keeps nothing between calls, so it can be made per request.
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
		// Once, so that every try sends the same ids.
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
	// A binding is reached under any address.
	if (binding) return { service: binding, url: "https://realtime", token, timeout };
	if (!url) throw new RealtimeError("configuration", "neither REALTIME nor REALTIME_URL is set");
	const service = { fetch: options.fetch ?? ((address, init) => fetch(address, init)) } satisfies Service;
	return { service, url: url.replace(/\/+$/, ""), token, timeout };
}
