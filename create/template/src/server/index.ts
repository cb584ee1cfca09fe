/** The API. It writes; the database's triggers publish. */
import { and, eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { Hono } from "hono";
import { realtime } from "realtime-worker/hono";
import { createRealtime } from "realtime-worker/server";
import { authOf, type Env, viewerOf } from "./auth.ts";
import { tasks } from "./schema.ts";
import { tables } from "./tables.ts";

const app = new Hono<{ Bindings: Env }>()
	.all("/api/auth/*", (context) => authOf(context.env, context.req.raw).handler(context.req.raw))
	// The page's connection, through the service binding.
	.all("/realtime/v1/*", (context) => context.env.REALTIME.fetch(context.req.raw))
	.use(
		realtime({
			tables,
			viewer: (context) => viewerOf(context.env, context.req.raw),
			outbox: (publisher, context) => publisher.outbox(context.env.DB),
		}),
	)
	.get("/api/tasks", async (context) => {
		const viewer = await context.var.viewer();
		if (!viewer?.organizationId) return context.json([], 401);
		const rows = await drizzle(context.env.DB).select().from(tasks).where(eq(tasks.organizationId, viewer.organizationId));
		return context.json(await context.var.view("tasks", rows));
	})
	.post("/api/tasks", async (context) => {
		const viewer = await context.var.viewer();
		if (!viewer?.userId || !viewer.organizationId) return context.body(null, 401);
		const { title, contact } = await context.req.json<{ title: string; contact: string }>();
		const ours = { id: crypto.randomUUID(), organizationId: viewer.organizationId, createdBy: viewer.userId, createdAt: new Date() };
		await drizzle(context.env.DB).insert(tasks).values({ ...ours, title, contact });
		return context.body(null, 204);
	})
	.patch("/api/tasks/:id", async (context) => {
		const viewer = await context.var.viewer();
		if (!viewer?.organizationId) return context.body(null, 401);
		const { isDone } = await context.req.json<{ isDone: boolean }>();
		const one = and(eq(tasks.id, context.req.param("id")), eq(tasks.organizationId, viewer.organizationId));
		await drizzle(context.env.DB).update(tasks).set({ isDone }).where(one);
		return context.body(null, 204);
	})
	.delete("/api/tasks", async (context) => {
		const viewer = await context.var.viewer();
		if (!viewer?.organizationId) return context.body(null, 401);
		await drizzle(context.env.DB).delete(tasks).where(and(eq(tasks.isDone, true), eq(tasks.organizationId, viewer.organizationId)));
		return context.body(null, 204);
	});

export default {
	fetch: app.fetch,
	/** Publishes what a crash has left in the outbox. */
	async scheduled(_event, env) {
		await createRealtime(env as never, { tables }).outbox(env.DB).flush();
	},
} satisfies ExportedHandler<Env>;
