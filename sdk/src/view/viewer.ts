/**
 * The viewer of rows, and the token that proves the viewer's identity to the realtime Worker.
 */

/** A viewer within an organization: the contents of a session token. */
export interface Viewer {
	/** The user; without it, nobody in particular. */
	readonly userId?: string | null;
	/** The organization. */
	readonly organizationId?: string | null;
	/** The viewer's roles in it. */
	readonly roles: readonly string[];
	/** Further claims, which the tables' `rows` and the channels' topics refer to. */
	readonly claims?: Readonly<Record<string, unknown>>;
}

/** The part of the result of Better Auth's `auth.api.getSession` that is read. */
export interface BetterAuthSession {
	readonly user: { readonly id: string; readonly role?: string | null | undefined };
	readonly session: { readonly activeOrganizationId?: string | null | undefined };
}

/** The part of the result of Better Auth's `auth.api.getActiveMember` that is read. */
export interface BetterAuthMember {
	readonly userId: string;
	readonly organizationId: string;
	/** Several roles are one text, `admin,member`. */
	readonly role: string;
}

/**
 * The viewer of a Better Auth session with the `organization` plugin; none without a session or an active organization.
 * The roles are the member's; a member of another user or organization is ignored.
 *
 * @example
 * ```ts
 * import { viewer } from "realtime-worker/view";
 *
 * const session = { user: { id: "u7" }, session: { activeOrganizationId: orgId } }; // auth.api.getSession({ headers })
 * const member = { userId: "u7", organizationId: orgId, role: "admin,member" }; // auth.api.getActiveMember({ headers })
 * console.log(viewer(session, member)); // { userId: "u7", organizationId: "org_1", roles: ["admin", "member"] }
 * ```
 */
export function viewer(session: BetterAuthSession | null | undefined, member?: BetterAuthMember | null): Viewer | null {
	const organizationId = session?.session.activeOrganizationId;
	if (!session || !organizationId) return null;
	const isTheirs = member?.userId === session.user.id && member.organizationId === organizationId;
	return { userId: session.user.id, organizationId, roles: isTheirs ? names(member.role) : [] };
}

function names(roles: string): string[] {
	return [...new Set(roles.split(",").map((role) => role.trim()))].filter(Boolean);
}

/**
 * Signs a session token for a viewer, for a realtime Worker with the same `JWT_SECRET`.
 *
 * @param expiresIn seconds
 * @throws {TypeError} for one who looks at no organization, and for a secret of fewer than 32 bytes
 *
 * @example
 * ```ts
 * import { sessionToken } from "realtime-worker/view";
 *
 * const token = await sessionToken({ userId: "u7", organizationId: orgId, roles: ["member"] }, "a secret of 32 bytes, or of more", 300);
 * console.log(token.split(".").length); // 3
 * ```
 */
export async function sessionToken(viewer: Viewer, secret: string, expiresIn = 300): Promise<string> {
	const { userId, organizationId, roles, claims } = viewer;
	if (!organizationId) throw new TypeError("the viewer looks at no organization");
	const key = new TextEncoder().encode(secret);
	if (key.length < 32) throw new TypeError("JWT_SECRET has fewer than 32 bytes");
	const exp = Math.floor(Date.now() / 1_000) + expiresIn;
	const all = { ...claims, sub: userId || undefined, roles, organizationId, exp };
	const content = [{ alg: "HS256", typ: "JWT" }, all].map((part) => base64url(new TextEncoder().encode(JSON.stringify(part)))).join(".");
	const hmac = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
	const signature = await crypto.subtle.sign("HMAC", hmac, new TextEncoder().encode(content));
	return `${content}.${base64url(new Uint8Array(signature))}`;
}

function base64url(bytes: Uint8Array): string {
	const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
	return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
