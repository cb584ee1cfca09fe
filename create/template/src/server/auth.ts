/** The signed-in user, by Better Auth, and the active organization. */
import { betterAuth } from "better-auth";
import { drizzleAdapter } from "better-auth/adapters/drizzle";
import { organization } from "better-auth/plugins";
import { and, eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { type Viewer, viewer } from "realtime-worker/view";
import * as schema from "./schema.ts";

export interface Env {
	DB: D1Database;
	REALTIME: Fetcher;
	ACCESS_TOKEN: string;
	JWT_SECRET: string;
	BETTER_AUTH_SECRET: string;
}

/** Better Auth for one request. */
export function authOf(env: Env, request: Request) {
	const db = drizzle(env.DB, { schema });
	return betterAuth({
		baseURL: new URL(request.url).origin,
		secret: env.BETTER_AUTH_SECRET,
		database: drizzleAdapter(db, { provider: "sqlite", schema }),
		emailAndPassword: { enabled: true },
		plugins: [organization()],
		databaseHooks: {
			session: {
				create: {
					before: async (session) => ({ data: { ...session, activeOrganizationId: await enter(env, session.userId) } }),
				},
			},
		},
	});
}

/** The viewer, with the roles in the active organization. */
export async function viewerOf(env: Env, request: Request): Promise<Viewer | null> {
	const found = await authOf(env, request).api.getSession({ headers: request.headers });
	const organizationId = found?.session.activeOrganizationId;
	if (!organizationId) return null;
	const theirs = and(eq(schema.member.userId, found.user.id), eq(schema.member.organizationId, organizationId));
	const [member] = await drizzle(env.DB).select().from(schema.member).where(theirs);
	return viewer(found, member);
}

/** The organization of a user. This example has one for all, and the first user is its admin. */
async function enter(env: Env, userId: string): Promise<string> {
	const db = drizzle(env.DB);
	const [mine] = await db.select().from(schema.member).where(eq(schema.member.userId, userId));
	if (mine) return mine.organizationId;
	const createdAt = new Date();
	await db.insert(schema.organization).values({ id: crypto.randomUUID(), name: "Everyone", slug: "everyone", createdAt }).onConflictDoNothing();
	const [{ id: organizationId }] = (await db.select().from(schema.organization)) as [typeof schema.organization.$inferSelect];
	const isFirst = (await db.$count(schema.member)) === 0;
	await db.insert(schema.member).values({ id: crypto.randomUUID(), organizationId, userId, role: isFirst ? "admin" : "member", createdAt });
	return organizationId;
}
