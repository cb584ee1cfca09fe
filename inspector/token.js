/**
 * What a session token says of itself. Its signature is the server's business.
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

/** The organizations that a token is for, as the server reads it. */
export function organizationsOf(token) {
	const { organizationId, activeOrganizationId, org_id, ref, organizations } = claimsOf(token) ?? {};
	const isMap = organizations !== null && typeof organizations === "object";
	const named = [organizationId, activeOrganizationId, org_id, ref, ...Object.keys(isMap ? organizations : {})];
	return [...new Set(named.filter((name) => typeof name === "string" && name !== ""))];
}

/** Who a token says its bearer is, for the protocols whose servers do not say it. */
export function identityOf(token) {
	const { sub, role, roles } = claimsOf(token) ?? {};
	const named = [role, ...(Array.isArray(roles) ? roles : [])].filter((name) => typeof name === "string");
	return { userId: typeof sub === "string" ? sub : null, roles: [...new Set(named)], authMethod: "as the token says" };
}

/** When a token ends, in Unix milliseconds; `undefined` where it does not say so. */
export function expiryOf(token) {
	const { exp } = claimsOf(token) ?? {};
	return typeof exp === "number" ? exp * 1_000 : undefined;
}

/**
 * The tokens of the address's fragment, `#admin=…&member=…&service=…`. The address bar and the history forget them before
 * anything else happens; they are nowhere but in this tab's memory then, so a reload forgets them too.
 */
export function takeTokens() {
	const entries = [...new URLSearchParams(location.hash.slice(1))].filter(([, token]) => token !== "");
	if (entries.length === 0) return { service: "", secret: "", offered: [] };
	history.replaceState(null, "", location.pathname);
	const { service = "", secret = "" } = Object.fromEntries(entries);
	const offered = entries.filter(([name]) => name !== "service" && name !== "secret").map(([name, token]) => ({ name, token }));
	return { service, secret, offered };
}

/** How long a token lasts that is made here, in seconds. */
const LIFETIME = 86_400;

/** A session token of anyone, for a development server whose `JWT_SECRET` the address gave: `#secret=…`. */
export async function mintToken(secret, { user, roles, organizationId }) {
	const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
	const utf8 = (text) => new TextEncoder().encode(text);
	const claims = { sub: user, roles, organizationId, exp: Math.floor(Date.now() / 1_000) + LIFETIME };
	const signed = [{ alg: "HS256", typ: "JWT" }, claims].map((part) => encode(utf8(JSON.stringify(part)))).join(".");
	const key = await crypto.subtle.importKey("raw", utf8(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
	return `${signed}.${encode(new Uint8Array(await crypto.subtle.sign("HMAC", key, utf8(signed))))}`;
}
