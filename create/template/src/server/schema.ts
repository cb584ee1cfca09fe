/** The tables of the database: this application's, Better Auth's, and the outbox. */
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export { realtimeOutbox } from "realtime-worker/drizzle";

const time = (name: string) => integer(name, { mode: "timestamp_ms" });

export const tasks = sqliteTable("tasks", {
	id: text("id").primaryKey(),
	organizationId: text("organization_id").notNull(),
	title: text("title").notNull(),
	contact: text("contact").notNull(),
	isDone: integer("is_done", { mode: "boolean" }).notNull().default(false),
	createdBy: text("created_by").notNull(),
	createdAt: time("created_at").notNull(),
});

export const user = sqliteTable("user", {
	id: text("id").primaryKey(),
	name: text("name").notNull(),
	email: text("email").notNull().unique(),
	emailVerified: integer("email_verified", { mode: "boolean" }).notNull(),
	image: text("image"),
	createdAt: time("created_at").notNull(),
	updatedAt: time("updated_at").notNull(),
});

export const session = sqliteTable("session", {
	id: text("id").primaryKey(),
	expiresAt: time("expires_at").notNull(),
	token: text("token").notNull().unique(),
	createdAt: time("created_at").notNull(),
	updatedAt: time("updated_at").notNull(),
	ipAddress: text("ip_address"),
	userAgent: text("user_agent"),
	userId: text("user_id").notNull(),
	activeOrganizationId: text("active_organization_id"),
});

export const account = sqliteTable("account", {
	id: text("id").primaryKey(),
	accountId: text("account_id").notNull(),
	providerId: text("provider_id").notNull(),
	userId: text("user_id").notNull(),
	accessToken: text("access_token"),
	refreshToken: text("refresh_token"),
	idToken: text("id_token"),
	accessTokenExpiresAt: time("access_token_expires_at"),
	refreshTokenExpiresAt: time("refresh_token_expires_at"),
	scope: text("scope"),
	password: text("password"),
	createdAt: time("created_at").notNull(),
	updatedAt: time("updated_at").notNull(),
});

export const verification = sqliteTable("verification", {
	id: text("id").primaryKey(),
	identifier: text("identifier").notNull(),
	value: text("value").notNull(),
	expiresAt: time("expires_at").notNull(),
	createdAt: time("created_at").notNull(),
	updatedAt: time("updated_at").notNull(),
});

export const organization = sqliteTable("organization", {
	id: text("id").primaryKey(),
	name: text("name").notNull(),
	slug: text("slug").notNull().unique(),
	logo: text("logo"),
	createdAt: time("created_at").notNull(),
	metadata: text("metadata"),
});

export const member = sqliteTable("member", {
	id: text("id").primaryKey(),
	organizationId: text("organization_id").notNull(),
	userId: text("user_id").notNull(),
	role: text("role").notNull(),
	createdAt: time("created_at").notNull(),
});

export const invitation = sqliteTable("invitation", {
	id: text("id").primaryKey(),
	organizationId: text("organization_id").notNull(),
	email: text("email").notNull(),
	role: text("role"),
	status: text("status").notNull(),
	expiresAt: time("expires_at").notNull(),
	createdAt: time("created_at").notNull(),
	inviterId: text("inviter_id").notNull(),
});
