/**
 * The Worker and PostgreSQL are killed at random while somebody writes: each committed row comes once and in order.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { join } from "../fixture.mjs";
import { Database } from "../source.mjs";

const KILLS = 5;
const subscriptions = [{ id: "m", table: "messages" }];
const isChange = ({ type }) => type === "postgres_changes";

/** Someone who comes back after every death, and goes on where the last socket ended. */
class Follower {
	bodies = [];
	#client;
	#position = true;

	async join(server) {
		this.#client = await join(server, "ada", ["authenticated"], { recover: this.#position, subscriptions });
		const { epoch, offset, recovered } = this.#client.welcome;
		if (this.#position !== true) assert.equal(recovered, true);
		else await this.#client.next(({ type }) => type === "subscribed");
		this.#position = { epoch, offset: this.#position.offset ?? offset };
	}

	/** Waits for so many rows in all. */
	async has(count) {
		while (this.bodies.length + this.#client.frames.filter(isChange).length < count) await this.#client.next(isChange);
	}

	/** Takes in what has come, before the socket goes. */
	leave() {
		const changes = this.#client.frames.filter(isChange);
		this.bodies.push(...changes.map((change) => change.new.body));
		this.#position = { ...this.#position, offset: changes.at(-1)?.offset ?? this.#position.offset };
	}
}

/** Writes until it is told to stop, whatever becomes of the server meanwhile. */
function writer(database) {
	let isOn = true;
	const write = async () => {
		for (let turn = 1; isOn; turn += 1) {
			const rows = `select 'ada', '${turn}-' || n from generate_series(1, ${(turn % 7) + 1}) n`;
			// What was being committed when the server died is in the table or is not: the table is asked in the end.
			await database.sql(`insert into messages (owner, body) ${rows}`).catch(() => {});
		}
	};
	const done = write();
	return { stop: () => ((isOn = false), done) };
}

test("each committed row comes once and in order, whatever dies", async (t) => {
	const database = await Database.start();
	const persist = mkdtempSync(path.join(tmpdir(), "realtime-worker-"));
	const serve = () => database.serve({}, { persist });
	let server = await serve();
	const ada = new Follower();
	try {
		await ada.join(server);
		await database.sql("insert into messages (owner, body) values ('ada', 'first')");
		await ada.has(1);
		const writing = writer(database);
		for (let kill = 0; kill < KILLS; kill += 1) {
			if (Math.random() < 0.5) {
				await database.postgres.stop("SIGQUIT");
				await database.postgres.run();
			} else {
				await server.dispose();
				ada.leave();
				server = await serve();
				await ada.join(server);
			}
			// So that the next one dies while batches are on their way.
			await database.sql("select pg_sleep(random() * 1.5)");
		}
		await writing.stop();
		const committed = (await database.sql("select body from messages order by id")).split("\n");
		await ada.has(committed.length);
		ada.leave();
		assert.deepEqual(ada.bodies, committed);
		assert.ok(committed.length > KILLS, `${committed.length} rows`);
		t.diagnostic(`${committed.length} rows, ${KILLS} kills`);
	} finally {
		await server.dispose();
		await database.dispose();
		rmSync(persist, { recursive: true });
	}
});
