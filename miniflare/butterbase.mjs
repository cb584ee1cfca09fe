/**
 * A client of Butterbase as its SDK behaves (docs/protocol-butterbase.md): one socket, which comes back after every close but
 * 1000, subscribes again and is tracked again; and a deployment with the issuer of the apps' users.
 */
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import { WebSocket } from "ws";
import { now, publish, start } from "./fixture.mjs";

/** How long to wait for an event; only a failing spec waits that long. */
const PATIENCE = 45_000;
const FIRST_DELAY = 20;
const LONGEST_DELAY = 640;
const MAX_ATTEMPTS = 10;

export const APP = "app_abc123";
/** A service key of {@link APP}. */
export const SERVICE_KEY = "bb_sk_of_the_specs_0123456789";

const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

/** The token of an app's user, signed by the app's own issuer. */
export function userToken(user, { app = APP, ...claims } = {}) {
	const parts = [{ alg: "RS256", kid: "k" }, { iss: `butterbase:app:${app}`, sub: user, exp: now() + 3_600, ...claims }];
	const content = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
	return `${content}.${sign("sha256", Buffer.from(content), privateKey).toString("base64url")}`;
}

/**
 * Starts a deployment with {@link SERVICE_KEY} and the keys of the apps' issuer.
 *
 * @param {object} realtime `REALTIME`
 * @param {object} [options] of `startServer`
 */
export async function deploy(realtime, { vars, ...options } = {}) {
	const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", use: "sig", alg: "RS256" }] });
	const issuer = createServer((_request, response) => response.end(keys)).listen(0, "127.0.0.1");
	await once(issuer, "listening");
	const hash = createHash("sha256").update(SERVICE_KEY).digest("hex");
	const key = { name: "owner", hash, organizationId: APP, userId: "owner", roles: ["butterbase_service"] };
	const JWKS_URL = `http://127.0.0.1:${issuer.address().port}/keys`;
	const server = await start(realtime, { vars: { JWKS_URL, API_KEYS: JSON.stringify([key]), ...vars }, ...options });
	const stop = async () => {
		await server.dispose();
		issuer.close();
	};
	return { ...server, dispose: stop };
}

/** Publishes a change of a row to the app. */
export function change(server, table, eventType, rows) {
	return publish(server, { organizationId: APP, type: "postgres_changes", table, eventType, ...rows });
}

/** Sends a request to the control plane; returns status and answer. */
export async function control(server, method, path, { token = SERVICE_KEY, body } = {}) {
	const headers = { ...(token && { authorization: `Bearer ${token}` }), "content-type": "application/json" };
	const address = `${server.url}/v1/${APP}/realtime${path}`;
	const response = await fetch(address, { method, headers, body: body && JSON.stringify(body) });
	return [response.status, await response.json()];
}

export class ButterbaseClient {
	/** Every frame, in order. */
	frames = [];
	/** The changes among them. */
	changes = [];
	/** The other tracked clients: metadata by `client_id`. */
	present = {};
	/** Closes, in order: `{ code, reason }`. */
	closes = [];
	#address;
	#headers;
	#socket;
	#tables = new Map();
	#tracked;
	#failures = 0;
	#isDone = false;
	#events = new EventEmitter();

	/**
	 * @param {object} server
	 * @param {{app?: string, token?: string, header?: string, recover?: boolean}} [options] the credential in the address, or in
	 *   the header; `recover` asks for positions, which the SDK does not know
	 */
	constructor(server, { app = APP, token, header, recover } = {}) {
		const query = new URLSearchParams({ ...(token && { token }), ...(recover && { recover }) });
		this.#address = `${server.url.replace(/^http/, "ws")}/v1/${app}/realtime?${query}`;
		this.#headers = header && { authorization: `Bearer ${header}` };
		this.#open();
	}

	/** Connects, and waits until it is connected. */
	static async connect(...options) {
		const client = new ButterbaseClient(...options);
		await client.next("connected");
		return client;
	}

	/** How many times it was connected. */
	get connected() {
		return this.of("connected").length;
	}

	/** The frames of a type. */
	of(type) {
		return this.frames.filter((frame) => frame.type === type);
	}

	/** Waits until a condition holds; it is checked after every frame and every close. */
	async until(holds) {
		const deadline = AbortSignal.timeout(PATIENCE);
		while (!holds()) {
			await once(this.#events, "change", { signal: deadline }).catch(() => {
				throw new Error(`it did not come: ${holds}; frames: ${JSON.stringify(this.frames.slice(-5))}`);
			});
		}
	}

	/** The first frame of a type after the present ones. */
	async next(type) {
		const known = this.frames.length;
		await this.until(() => this.frames.slice(known).some((frame) => frame.type === type));
		return this.frames.slice(known).find((frame) => frame.type === type);
	}

	/** Sends a frame, and waits for the next one of a type. */
	ask(frame, type) {
		const answer = this.next(type);
		this.send(frame);
		return answer;
	}

	/** Subscribes, now and after each reconnect. */
	subscribe(table, more = {}) {
		const frame = { type: "subscribe", table, ...more };
		this.#tables.set(table, frame);
		return this.ask(frame, "subscribed");
	}

	/** Tracks its presence, now and after each reconnect. */
	track(metadata) {
		this.#tracked = { type: "presence_track", metadata };
		return this.ask(this.#tracked, "presence_state");
	}

	send(frame) {
		this.#socket.send(JSON.stringify(frame));
	}

	/** Everything sent before has been handled, and its results have arrived. */
	async settled() {
		await this.ask({ type: "unsubscribe", table: "none" }, "unsubscribed");
	}

	/** Disconnects for good: normally, or with another close code, as after too long a silence. */
	async close(code = 1000, reason = "Client disconnect") {
		this.#isDone = true;
		// A socket that is still opening emits an error before its close, which `once` would take.
		const closed = new Promise((resolve) => this.#socket.on("close", resolve));
		if (this.#socket.readyState === WebSocket.CLOSED) return;
		this.#socket.close(code, reason);
		await closed;
	}

	#open() {
		this.#socket = new WebSocket(this.#address, { headers: this.#headers });
		this.#socket.on("open", () => this.#opened());
		this.#socket.on("message", (data) => this.#hear(JSON.parse(data.toString())));
		this.#socket.on("error", () => {});
		this.#socket.on("close", (code, reason) => this.#lost(code, reason.toString()));
	}

	#opened() {
		this.#failures = 0;
		for (const frame of this.#tables.values()) this.send(frame);
		if (this.#tracked) this.send(this.#tracked);
	}

	#lost(code, reason) {
		this.closes.push({ code, reason });
		this.present = {};
		this.#events.emit("change");
		if (this.#isDone || code === 1000 || this.#failures === MAX_ATTEMPTS) return;
		const again = setTimeout(() => this.#isDone || this.#open(), Math.min(FIRST_DELAY * 2 ** this.#failures, LONGEST_DELAY));
		this.#failures += 1;
		// A failing spec closes nothing; without its server, nobody waits for this any more.
		again.unref();
	}

	#hear(frame) {
		this.frames.push(frame);
		const { type, client_id: id, metadata } = frame;
		if (type === "change") this.changes.push(frame);
		if (type === "presence_state") this.present = Object.fromEntries(frame.clients.map((one) => [one.client_id, one.metadata]));
		if (type === "presence_join" || type === "presence_update") this.present[id] = metadata;
		if (type === "presence_leave") delete this.present[id];
		this.#events.emit("change");
	}
}
