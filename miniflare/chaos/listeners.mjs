/**
 * The listeners: clients of the SDK, which recover whatever they miss, and of supabase-js, which do not.
 */
import { createClient as createSupabase } from "@supabase/supabase-js";
import { createClient } from "../../sdk/src/client/index.ts";
import { ORGANIZATION, anonKey, tokenOf } from "./deployment.mjs";
import { Ledger } from "./ledger.mjs";

/** Short, so that a dead connection is detected during the run. */
const HEARTBEAT = { interval: 2_000, timeout: 2_000 };
const BACKOFF = { base: 100, max: 1_000 };

/** A client of the SDK. */
export class SdkListener {
	ledger;
	/** Resolves when its subscriptions are active. */
	ready;
	/** The longest time without a connection, in milliseconds. */
	slowest = 0;
	#client;
	#lostAt;
	#isConnected;

	constructor(wire, events, index) {
		const isAdmin = index % 3 === 0;
		const token = tokenOf(`user-${index}`, [isAdmin ? "admin" : "member"]);
		this.ledger = new Ledger(events, { isAdmin, isNative: true });
		const client = createClient(wire.url, { organizationId: ORGANIZATION, token, heartbeat: HEARTBEAT, backoff: BACKOFF });
		this.#client = client;
		const row = ({ new: { id, ssn }, offset }) => this.ledger.take(id, { ssn, offset });
		const note = ({ payload: { n }, offset }) => this.ledger.take(n, { offset });
		const room = client.topic("chaos").on("note", note);
		this.ready = Promise.all([client.on("people", "*", row).ready, room.ready]);
		client.on.broadcast("note", note);
		client.on.gap(() => this.ledger.gap());
		client.on.error(() => {});
		client.on.status(({ state }) => this.#follow(state === "connected"));
	}

	get isConnected() {
		return this.#isConnected;
	}

	close() {
		this.#client.close();
	}

	#follow(isConnected) {
		const now = performance.now();
		if (isConnected && this.#lostAt !== undefined) this.slowest = Math.max(this.slowest, now - this.#lostAt);
		if (!isConnected && this.#isConnected) this.#lostAt = now;
		if (isConnected) this.#lostAt = undefined;
		this.#isConnected = isConnected;
	}
}

/** A client of supabase-js. */
export class SupabaseListener {
	ledger;
	ready;
	isConnected = false;
	/** How its connections ended: code and reason, with the time until it was back, in milliseconds. */
	absences = [];
	#client;
	#left;

	constructor(wire, events, index) {
		this.ledger = new Ledger(events, { isAdmin: false, isNative: false });
		const token = tokenOf(`guest-${index}`, ["member"]);
		const logger = (kind, message, data) => this.#note(kind, message, data);
		const realtime = { heartbeatIntervalMs: HEARTBEAT.interval, reconnectAfterMs: () => BACKOFF.max / 4, timeout: 5_000, logger };
		this.#client = createSupabase(wire.url, anonKey(), { accessToken: async () => token, realtime });
		this.ready = this.#join();
	}

	async #join() {
		await this.#client.realtime.setAuth();
		const config = { private: true, broadcast: { self: false } };
		this.#client
			.channel("chaos", { config })
			.on("broadcast", { event: "note" }, ({ payload: { n } }) => this.ledger.take(n, {}))
			.on("postgres_changes", { event: "*", schema: "public", table: "people" }, ({ new: { id, ssn } }) => this.ledger.take(id, { ssn }))
			.on("system", {}, ({ status }) => (status === "ok" ? this.#return() : this.#leave(`system ${status}`)))
			.subscribe((status) => status !== "SUBSCRIBED" && this.#leave(status));
	}

	/** The client reports in its log why a connection ended. */
	#note(kind, message, data) {
		if (kind === "transport" && /close|timeout/.test(message)) this.#leave([message, data?.code, data?.reason].filter(Boolean).join(" "));
	}

	#leave(why) {
		if (this.isConnected) this.#left = { why, at: performance.now() };
		this.isConnected = false;
	}

	#return() {
		if (this.#left !== undefined) this.absences.push([this.#left.why, Math.round(performance.now() - this.#left.at)]);
		this.#left = undefined;
		this.isConnected = true;
	}

	close() {
		return this.#client.removeAllChannels();
	}
}
