/**
 * Session tokens, as an application's own login would sign them.
 */
import { createHmac } from "node:crypto";

/**
 * A JWT signed with HS256.
 *
 * @param {Record<string, unknown>} claims
 * @param {string} secret the Worker's `JWT_SECRET`
 */
export function signToken(claims, secret) {
	const content = [{ alg: "HS256", typ: "JWT" }, claims].map(encode).join(".");
	return `${content}.${createHmac("sha256", secret).update(content).digest("base64url")}`;
}

function encode(value) {
	return Buffer.from(JSON.stringify(value)).toString("base64url");
}
