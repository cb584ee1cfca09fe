/**
 * Everything between a writer and a client is killed at random while eight writers write (workerd with the objects of database
 * and organization in whatever they are about): each committed change comes once, transactions whole and in order.
 *
 * `node miniflare/kills.mjs 100000` is the run of docs/reliability.md; the spec runs a small one.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Follower } from "./follower.mjs";
import { Database } from "./source.mjs";
import { BEFORE, LEDGER, SHARED, Writer, assertTold, changesOf } from "./writers.mjs";

const WRITERS = 8;
const MIN_KILLS = 5;
/** Everything is retained: how much may be missed is not what is tested. */
const history = { count: 10_000_000, bytes: 1e9, replay: 1_000_000, replayBytes: 5e8 };
const ADMIN = { user: "postgres", database: "postgres" };

/** What runs, and what may happen to it. Users of a server wait for the next one while there is none. */
class Stage {
	persist = mkdtempSync(path.join(tmpdir(), "realtime-worker-"));
	database;
	kills = {};
	/** The Worker's last log lines. */
	log = [];
	#server;
	#isUp = Promise.resolve();

	async start() {
		this.database = await Database.start();
		await this.database.sql(`${LEDGER}; ${SHARED}`);
		// The load of a busy machine is not what is tested.
		await this.database.postgres.sql("alter role realtime_worker_reader set statement_timeout = '9s'", ADMIN);
		this.#server = this.#serve();
		await this.#server;
	}

	server = () => this.#server;

	/** A session of a writer. */
	session = async () => {
		await this.#isUp;
		return this.database.postgres.session(this.database.name, { isQuiet: true });
	};

	async kill() {
		const kinds = Object.keys(this.#deaths);
		const kind = kinds[Math.floor(Math.random() * kinds.length)];
		const isDead = await this.#deaths[kind]();
		if (isDead !== false) this.kills[kind] = (this.kills[kind] ?? 0) + 1;
	}

	async dispose() {
		await (await this.#server).dispose();
		await this.database.dispose();
		rmSync(this.persist, { recursive: true });
	}

	#deaths = {
		PostgreSQL: () => (this.#isUp = this.database.postgres.stop("SIGQUIT").then(() => this.database.postgres.run())),
		workerd: async () => {
			const dying = await this.#server;
			this.#server = dying.dispose().then(() => this.#serve());
			await this.#server;
		},
		// The runtime does not evict an object that is busy.
		tenant: async () => (await this.#server).evict("org_1", Math.random() < 0.5 ? "close" : "hibernate").catch(() => false),
		connection: () => this.database.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'realtime_worker_reader'", ADMIN),
	};

	#serve() {
		const onLog = ({ message }) => {
			this.log.push(message);
			if (this.log.length > 40) this.log.shift();
		};
		return this.database.serve({}, { persist: this.persist, realtime: { history }, onLog });
	}
}

/**
 * Writes at least `size` changes, and asserts what became of them.
 *
 * @param {number} size
 * @param {(line: string) => void} print takes the figures; and after a failure, what the Worker logged last
 * @param {(changes: number, kills: object) => void} [onKill] told how far it is
 */
export async function kills(size, print, onKill = () => {}) {
	/** The longest time between two kills, in seconds. */
	const maxPause = Math.min(6, size / 1_000);
	const stage = new Stage();
	try {
		await stage.start();
		const followers = ["ada", "bob"].map((user) => new Follower(user, stage.server));
		for (const follower of followers) await follower.begin();
		let isOver = false;
		const clock = { now: 0 };
		const writers = Array.from({ length: WRITERS }, (_, index) => new Writer(`w${index}`, stage.session, clock));
		const began = Date.now();
		const writing = writers.map((writer) => writer.run(() => isOver));
		let count = 0;
		for (let kills = 0; kills < MIN_KILLS || count < size; kills += 1) {
			// So that the next kill happens while batches are in transit.
			const text = await stage.database.sql(`select pg_sleep(random() * ${maxPause}); select coalesce(sum(json_array_length(changes)), 0) from ledger`);
			count = Number(text.trim());
			await stage.kill();
			for (const { error } of followers) if (error) throw error;
			onKill(count, stage.kills);
		}
		isOver = true;
		await Promise.all(writing);
		const seconds = (Date.now() - began) / 1_000;
		const rows = JSON.parse(await stage.database.sql("select json_agg(json_build_array(tag, changes)) from ledger"));
		const ledger = new Map(rows);
		const transactions = new Map([...BEFORE, ...writers.flatMap((writer) => [...writer.transactions])]);
		let told = 0;
		for (const [index, owner] of ["ada", "bob"].entries()) {
			const follower = followers[index];
			await follower.leaveAfter([...ledger.values()].flatMap((changes) => changesOf(owner, changes)).length);
			assertTold(owner, follower.told, ledger, transactions);
			told += follower.told.length;
		}
		assert.ok(told >= size, `${told} changes`);
		const gap = Math.max(...followers.map(({ longestGap }) => longestGap));
		print(`${told} changes of ${ledger.size} transactions (${transactions.size - ledger.size} rolled back) in ${seconds} s`);
		print(`killed: ${JSON.stringify(stage.kills)}; clients came back ${followers[0].returns + followers[1].returns} times, ${gap} ms without changes at the longest`);
	} catch (error) {
		print(stage.log.join("\n"));
		throw error;
	} finally {
		await stage.dispose();
	}
}

if (process.argv[1] === import.meta.filename) {
	await kills(Number(process.argv[2] ?? 1_500), console.log, (changes, killed) => console.error(changes, JSON.stringify(killed)));
	process.exit();
}
