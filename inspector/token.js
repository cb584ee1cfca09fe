/**
 * The claims of a session token. Its signature is the server's concern.
 */

/** The claims of a JWT; `undefined` for anything else, such as an API key. */
export function claimsOf(token) {
	try {
		const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
		const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
		const claims = JSON.parse(new TextDecoder().decode(bytes));
		return claims !== null && typeof claims === "object" ? claims : undefined;
	} catch {
		return undefined;
	}
}

/** The organizations that a token names, as the server reads it. */
export function organizationsOf(token) {
	const { organizationId, activeOrganizationId, org_id, ref, organizations } = claimsOf(token) ?? {};
	const isMap = organizations !== null && typeof organizations === "object";
	const named = [organizationId, activeOrganizationId, org_id, ref, ...Object.keys(isMap ? organizations : {})];
	return [...new Set(named.filter((name) => typeof name === "string" && name !== ""))];
}

/** The identity that a token states, for protocols whose servers do not report it. */
export function identityOf(token) {
	const { sub, role, roles } = claimsOf(token) ?? {};
	const named = [role, ...(Array.isArray(roles) ? roles : [])].filter((name) => typeof name === "string");
	return { userId: typeof sub === "string" ? sub : null, roles: [...new Set(named)], authMethod: "as the token says" };
}

/** When a token expires, in Unix milliseconds; `undefined` if it does not say. */
export function expiryOf(token) {
	const { exp } = claimsOf(token) ?? {};
	return typeof exp === "number" ? exp * 1_000 : undefined;
}

/**
 * The tokens in the address's fragment, `#admin=…&member=…&service=…`. They are removed from the address bar and the
 * history before anything else happens. From then on they are only in this tab's memory, so a reload forgets them too.
 */
export function takeTokens() {
	const entries = [...new URLSearchParams(location.hash.slice(1))].filter(([, token]) => token !== "");
	if (entries.length === 0) return { service: "", secret: "", offered: [] };
	history.replaceState(null, "", location.pathname);
	const { service = "", secret = "" } = Object.fromEntries(entries);
	const offered = entries.filter(([name]) => name !== "service" && name !== "secret").map(([name, token]) => ({ name, token }));
	return { service, secret, offered };
}

/** The lifetime of a token that is created here, in seconds. */
const LIFETIME = 86_400;

/** A session token of any user, for a development server whose `JWT_SECRET` is in the address: `#secret=…`. */
export async function mintToken(secret, { user, roles, organizationId }) {
	const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
	const utf8 = (text) => new TextEncoder().encode(text);
	const claims = { sub: user, roles, organizationId, exp: Math.floor(Date.now() / 1_000) + LIFETIME };
	const signed = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => encode(utf8(JSON.stringify(part)))).join(".");
	const key = await crypto.subtle.importKey("raw", utf8(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
	return `${signed}.${encode(new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8(signed))))}`;
}
