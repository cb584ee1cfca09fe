/**
 * Shared by the specs of the PostgreSQL source: a database with a table whose rows belong to their owner, and a
 * deployment that takes its changes.
 */
import { ACCESS_TOKEN, join, start, subscribe } from "./fixture.mjs";
import { Postgres, SAMPLE } from "./postgres.mjs";

/** A table that is not enabled. */
const PLAIN = "create table plain (id int primary key); grant select on plain to authenticated;";
const PATIENCE = 30_000;

/** A database in its own server. */
export class Database {
	/** The server. */
	postgres;
	name = "app";

	static async start() {
		const database = new Database();
		database.postgres = await Postgres.start();
		await database.postgres.database(database.name);
		await database.sql(`${SAMPLE}${PLAIN}`);
		return database;
	}

	/**
	 * Starts a deployment that takes org_1's changes from it.
	 *
	 * @param {object} [settings] of `REALTIME.databases.main`
	 * @param {object} [options] of `startServer`, and `realtime`: more of `REALTIME`
	 */
	serve(settings = {}, { vars, realtime, ...options } = {}) {
		const main = { connection: "DATABASE_URL", organization: "org_1", roles: ["authenticated", "anon"], ...settings };
		return start({ databases: { main }, ...realtime }, { vars: { DATABASE_URL: this.url(), ...vars }, ...options });
	}

	/** See {@link Postgres.url}. */
	url(other) {
		return this.postgres.url(other?.name ?? this.name, other);
	}

	/** Runs statements as the owner, and returns their output. */
	sql(text) {
		return this.postgres.sql(text, { database: this.name });
	}

	/** The number of the Worker's connections. */
	async connections() {
		const text = "select count(*) from pg_stat_activity where usename = 'realtime_worker_reader'";
		return Number(await this.postgres.sql(text, { user: "postgres", database: "postgres" }));
	}

	dispose() {
		return this.postgres.dispose();
	}
}

/** A native client of org_1 that subscribes to `messages`. */
export async function reader(server, user) {
	const client = await join(server, user, ["authenticated"]);
	const answer = await subscribe(client, "m", { table: "messages" });
	if (answer.type !== "subscribed") throw new Error(JSON.stringify(answer));
	return client;
}

/** A request to a route of the source: `wake` or `status`. */
export function ask(server, path, { method = "POST", token = ACCESS_TOKEN } = {}) {
	return fetch(`${server.url}/realtime/v1/source/${path}`, { method, headers: { authorization: `Bearer ${token}` } });
}

/** The status of the source. */
export async function status(server) {
	return (await ask(server, "status", { method: "GET" })).json();
}

/** Polls until the answer matches, for events that nothing announces, and returns the elapsed milliseconds. */
export async function until(question, isWanted) {
	const began = Date.now();
	let answer = await question();
	while (!isWanted(answer)) {
		if (Date.now() - began > PATIENCE) throw new Error(`still ${JSON.stringify(answer)}`);
		answer = await question();
	}
	return Date.now() - began;
}
