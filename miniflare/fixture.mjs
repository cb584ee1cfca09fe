/**
 * Shared by the specs: a deployment with its secrets, its users' tokens, and its API worker's requests.
 */
import { connect } from "./client.mjs";
import { startServer } from "./server.mjs";
import { signToken } from "./token.mjs";

export const ACCESS_TOKEN = "the-access-token-of-the-specs-0123456789";
export const JWT_SECRET = "the-jwt-secret-of-the-specs-0123456789";

/**
 * The channels of {@link start}'s deployment: members talk in rooms, admins announce, and everyone has a topic of their
 * own.
 */
const channels = [
	{ topic: "room:*", read: { roles: ["member"] }, write: { roles: ["member"] }, presence: { roles: ["member"] } },
	{ topic: "news", read: {}, write: { roles: ["admin"] } },
	{ topic: "user:{sub}", read: {}, write: {}, presence: {} },
	{ topic: "kept:*", read: {}, write: {}, history: true },
];

/**
 * Starts a server with the secrets above. The caller disposes of it.
 *
 * @param {object} [realtime] `REALTIME`, over channels for rooms, news, one's own topic and kept ones
 * @param {object} [options] of `startServer`
 */
export function start(realtime = {}, { vars, ...options } = {}) {
	// All clients of a spec have the address of this machine.
	const limits = { refusedPerAddress: 1_000_000, ...realtime.limits };
	return startServer({
		onLog: () => {},
		vars: { ACCESS_TOKEN, JWT_SECRET, REALTIME: { channels, ...realtime, limits }, ...vars },
		...options,
	});
}

/**
 * A session token.
 *
 * @param {string} user
 * @param {string[]} [roles]
 * @param {Record<string, unknown>} [claims] more claims, and other values for the standard ones; `undefined` leaves one out
 */
export function tokenOf(user, roles = ["member"], claims = {}) {
	return signToken({ sub: user, roles, organizationId: "org_1", exp: now() + 3_600, ...claims }, JWT_SECRET);
}

/** Unix seconds. */
export function now() {
	return Math.floor(Date.now() / 1_000);
}

/** The address of a socket that is opened directly at its organization's object. */
export function socketUrl(server, parameters = { organizationId: "org_1" }) {
	return `${server.url}/realtime/v1/websocket?${new URLSearchParams(parameters)}`;
}

/**
 * A connection that has just read its `auth_success`, which is its `.welcome`.
 *
 * @param {object} server
 * @param {string} user
 * @param {string[]} [roles]
 * @param {{organizationId?: string, claims?: object, [frame: string]: unknown}} [options] the rest goes into the auth frame
 */
export async function join(server, user, roles, { organizationId = "org_1", claims, ...frame } = {}) {
	const client = await connect(socketUrl(server, { organizationId }));
	client.send({ type: "auth", token: tokenOf(user, roles, { organizationId, ...claims }), organizationId, ...frame });
	client.welcome = await client.next();
	if (client.welcome.type !== "auth_success") throw new Error(JSON.stringify(client.welcome));
	return client;
}

/**
 * Everything that was sent to the client since its last read: the answer to a ping that reaches the object comes after
 * it.
 */
export function unread(client) {
	return client.sync('{"type": "ping"}', isPong, 20_000);
}

export const isPong = (frame) => frame.type === "pong";

/** Subscribes and waits for the answer, which it returns. Frames before it count as read. */
export async function subscribe(client, id, target) {
	client.send({ type: "subscribe", id, ...target });
	return client.next((frame) => frame.id === id);
}

/**
 * `POST /broadcast` with any body.
 *
 * @param {{path?: string, token?: string, headers?: object, [init: string]: unknown}} [options]
 */
export function post(server, body, { path = "/broadcast", token = ACCESS_TOKEN, headers, ...init } = {}) {
	return fetch(server.url + path, {
		method: "POST",
		headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
		body: typeof body === "object" && body.constructor === Object ? JSON.stringify(body) : body,
		...init,
	});
}

/** Publishes to org_1, unless the event names another organization, and returns the receipt. */
export async function publish(server, event) {
	const response = await post(server, { organizationId: "org_1", ...event });
	const answer = await response.json();
	if (response.status !== 202) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
	return answer;
}

/** A message to the whole organization, modified by `more`. */
export function message(payload, more = {}) {
	return { type: "broadcast", event: "note", payload, ...more };
}

/** A new row, modified by `more`. */
export function insert(table, row, more = {}) {
	return { type: "postgres_changes", table, eventType: "INSERT", new: row, ...more };
}

/** The answer to a request for a ticket. */
export function askForTicket(server, token, body = { organizationId: "org_1" }, headers = {}) {
	return post(server, body, { path: "/realtime/v1/ws-ticket", token, headers });
}

/** A ticket. */
export async function ticketFor(server, token, body) {
	const response = await askForTicket(server, token, body);
	const answer = await response.json();
	if (response.status !== 200) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
	return answer.wsTicket;
}

/** The figures of an organization. */
export async function stats(server, organizationId = "org_1") {
	const response = await fetch(`${server.url}/realtime/v1/stats?organizationId=${organizationId}`, {
		headers: { authorization: `Bearer ${ACCESS_TOKEN}` },
	});
	return response.json();
}
