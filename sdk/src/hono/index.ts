/**
 * `realtime-worker/hono`: a middleware with tokens, a publisher and the stream's view of rows for an API.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { createRealtime, type Realtime, type RealtimeEnv } from "../server/realtime.ts";
import { RealtimeError } from "../server/error.ts";
import type { Namespace } from "../server/namespace.ts";
import type { Tables } from "../server/table.ts";
import { type Channel, isAllowed, policyOf } from "../view/channels.ts";
import { createView, type Seen, type View } from "../view/view.ts";
import { sessionToken, type Viewer } from "../view/viewer.ts";

/** The variables and bindings of the Worker that the middleware reads. */
export interface HonoRealtimeEnv extends RealtimeEnv {
	/** The realtime Worker's `JWT_SECRET`. */
	readonly JWT_SECRET: string;
}

/** What is flushed after a request: an outbox. */
interface Flushable {
	flush(options?: { readonly organizationId?: string }): Promise<unknown>;
}

/** The options of the middleware. */
export interface HonoRealtimeOptions<Names extends Tables, Spaces extends readonly Namespace[]> {
	/** Tables of `defineTable`. */
	readonly tables: Names;
	/** Namespaces of `defineRealtime`. */
	readonly namespaces?: Spaces;
	/** The viewer of a request; `null` for none. Called once per request, and only if needed. */
	readonly viewer: (context: Context) => Viewer | null | Promise<Viewer | null>;
	/** The outbox to flush, for the viewer's organization, after a request that may have written to it. */
	readonly outbox?: (realtime: Realtime<Names, Spaces>, context: Context) => Flushable;
	/**
	 * The Worker's channel policies. With them, `<path>/publish` accepts what the client's `createQueue` delivers, each
	 * `id` once.
	 */
	readonly channels?: readonly Channel[];
	/** Where tokens and tickets are served: `<path>/token` and `<path>/ticket`. Default: `/realtime`. */
	readonly path?: string;
	/** How long a token is valid, in seconds. Default: 300. */
	readonly expiresIn?: number;
}

/** What handlers find in the context's `var`. */
export interface HonoRealtimeVariables<Names extends Tables, Spaces extends readonly Namespace[]> {
	/** The publisher. */
	realtime: Realtime<Names, Spaces>;
	/** The viewer of the request. */
	viewer: () => Promise<Viewer | null>;
	/** The rows as the stream would show them to the viewer. */
	view: <Name extends keyof Names & string>(table: Name, rows: Parameters<View<Names>>[1]) => Promise<Seen<Record<string, any>>[]>;
}

/**
 * The middleware. `POST /realtime/token` answers with a session token of the viewer as text, for the client's
 * `getToken`; `POST /realtime/ticket` with a ticket for one connection.
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { realtime } from "realtime-worker/hono";
 * import { defineTable } from "realtime-worker/server";
 *
 * const tables = { claims: defineTable<{ id: string; ssn: string }>({ masking: { ssn: { type: "ssn" } } }) };
 * const app = new Hono()
 *   .use(realtime({ tables, viewer: () => ({ userId: "u7", organizationId: orgId, roles: ["member"] }) }))
 *   .get("/claims", async (context) => context.json(await context.var.view("claims", [{ id: "c1", ssn: "123-45-6789" }])))
 *   .post("/claims", async (context) => {
 *     await context.var.realtime.insert("claims", await context.req.json(), orgId);
 *     return context.body(null, 204);
 *   });
 *
 * const bindings = { ...env, JWT_SECRET: "the secret of the realtime Worker" };
 * console.log(await (await app.request("/claims", {}, bindings)).json()); // ssn: "*****6789"
 * await app.request("/claims", { method: "POST", body: '{ "id": "c2" }' }, bindings);
 * console.log((await (await app.request("/realtime/token", { method: "POST" }, bindings)).text()).length);
 * ```
 */
export function realtime<const Names extends Tables, const Spaces extends readonly Namespace[] = readonly []>(
	options: HonoRealtimeOptions<Names, Spaces>,
): MiddlewareHandler<{ Bindings: HonoRealtimeEnv; Variables: HonoRealtimeVariables<Names, Spaces> }> {
	const { tables, namespaces, path = "/realtime", expiresIn = 300 } = options;
	const view = createView(tables);
	return async (context, next) => {
		let asked: Promise<Viewer | null> | undefined;
		const viewer = () => (asked ??= Promise.resolve(options.viewer(context)));
		const publisher = createRealtime(context.env, { tables, ...(namespaces && { namespaces }) }) as Realtime<Names, Spaces>;
		const isPost = context.req.method === "POST";
		if (isPost && context.req.path === `${path}/token`) return serveToken(context, await viewer(), expiresIn);
		if (isPost && context.req.path === `${path}/ticket`) return serveTicket(context, await viewer());
		if (isPost && context.req.path === `${path}/publish` && options.channels) {
			return servePublication(context, await viewer(), options.channels, publisher as Realtime);
		}
		context.set("realtime", publisher);
		context.set("viewer", viewer);
		context.set("view", async (table, rows) => view(table, rows as never, await viewer()) as never);
		await next();
		if (options.outbox && !["GET", "HEAD", "OPTIONS"].includes(context.req.method)) {
			await afterwards(context, flush(options.outbox(publisher, context), await viewer()));
		}
	};
}

const NO_STORE = { "cache-control": "no-store" };

async function serveToken(context: Context, viewer: Viewer | null, expiresIn: number): Promise<Response> {
	if (!viewer?.organizationId) return context.json({ error: "unauthorized" }, 401);
	return context.text(await sessionToken(viewer, context.env.JWT_SECRET, expiresIn), 200, NO_STORE);
}

/** Exchanges a one-minute token for a ticket. */
async function serveTicket(context: Context, viewer: Viewer | null): Promise<Response> {
	if (!viewer?.organizationId) return context.json({ error: "unauthorized" }, 401);
	const { REALTIME, REALTIME_URL, JWT_SECRET } = context.env;
	const url = `${REALTIME ? "https://realtime" : REALTIME_URL.replace(/\/+$/, "")}/realtime/v1/ws-ticket`;
	const init = {
		method: "POST",
		headers: { authorization: `Bearer ${await sessionToken(viewer, JWT_SECRET, 60)}`, "content-type": "application/json" },
		body: JSON.stringify({ organizationId: viewer.organizationId }),
	};
	const answer = (await (REALTIME ? REALTIME.fetch(url, init) : fetch(url, init))) as Response;
	return context.json(await answer.json(), answer.status as 200, NO_STORE);
}

/**
 * Publishes to a private topic if the policies allow the viewer to. The key includes the viewer, so nobody can use
 * another viewer's.
 */
async function servePublication(context: Context, viewer: Viewer | null, channels: readonly Channel[], publisher: Realtime): Promise<Response> {
	if (!viewer?.organizationId) return context.json({ error: "unauthorized" }, 401);
	const { id, topic, event, payload } = (await context.req.json().catch(() => null)) ?? {};
	if (![id, topic, event].every((text) => typeof text === "string" && text !== "")) return context.json({ error: "invalid_request" }, 400);
	if (!isAllowed(channels, "write", topic, viewer)) return context.json({ error: "forbidden" }, 403);
	const history = policyOf(channels, topic, viewer)?.history === true;
	const key = await keyOf(viewer.userId ?? null, topic, id);
	try {
		return context.json(await publisher.broadcast(event, payload, viewer.organizationId, { topic, id: key, history }));
	} catch (error) {
		if (!(error instanceof RealtimeError)) throw error;
		return context.json({ error: error.code }, error.retryable ? 503 : 400);
	}
}

/** A digest, as the Worker stores the keys of clients: no choice of `id` makes it another viewer's key, or one of the API's own. */
async function keyOf(...parts: (string | null)[]): Promise<string> {
	const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(parts)));
	return `client ${Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** A flush that fails leaves everything for the next one, and must not fail the request. */
async function flush(outbox: Flushable, viewer: Viewer | null): Promise<void> {
	if (!viewer?.organizationId) return;
	await outbox.flush({ organizationId: viewer.organizationId }).catch((error: unknown) => {
		console.error(`realtime-worker: the outbox waits for its next flush: ${error}`);
	});
}

/** After the response if the runtime supports that, otherwise before it. */
async function afterwards(context: Context, work: Promise<void>): Promise<void> {
	let execution: Context["executionCtx"] | undefined;
	try {
		execution = context.executionCtx;
	} catch {
		// Outside of Workers there is none.
	}
	if (execution) execution.waitUntil(work);
	else await work;
}
