/** Session tokens, checked as the Worker does: HS256, and whether they have ended. */

const encoder = new TextEncoder();
const keys = new Map();

/** The claims of a bearer token; `undefined` where it is no good. */
export async function verified(header, secret) {
	const [head, body, signature] = header?.replace(/^Bearer /, "").split(".") ?? [];
	if (!signature) return undefined;
	const bytes = Uint8Array.from(decode(signature), (character) => character.charCodeAt(0));
	if (!(await crypto.subtle.verify("HMAC", await keyOf(secret), bytes, encoder.encode(`${head}.${body}`)))) return undefined;
	const claims = JSON.parse(decode(body));
	return claims.exp * 1_000 > Date.now() ? claims : undefined;
}

function decode(text) {
	return atob(text.replaceAll("-", "+").replaceAll("_", "/"));
}

function keyOf(secret) {
	if (!keys.has(secret)) {
		keys.set(secret, crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]));
	}
	return keys.get(secret);
}
