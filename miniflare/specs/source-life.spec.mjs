/**
 * The life of the source: it connects when there are subscribers, recovers from every kind of failure, and reports what
 * is wrong.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { join, subscribe, unread } from "../fixture.mjs";
import { Database, ask, reader, status, until } from "../source.mjs";

const database = await Database.start();
after(() => database.dispose());

const inserted = (body) => database.sql(`insert into messages (owner, body) values ('ada', '${body}')`);
/** A lost feed is back within this time. */
const MAX_WAIT = 5_000;

/** Runs with a separate deployment, and passes its log. */
async function withServer(body, settings, options) {
	const log = [];
	const server = await database.serve(settings, { onLog: ({ message }) => log.push(message), ...options });
	try {
		await body(server, log);
	} finally {
		await server.dispose();
	}
}

test("nobody listens: no connection; the last one gone, it is closed, and what is written then is taken for the history", async () => {
	const persist = mkdtempSync(path.join(tmpdir(), "realtime-worker-"));
	const settings = { drainSeconds: 10 };
	const isClosed = () => until(() => database.connections(), (count) => count === 0);
	const first = async (server) => {
		assert.equal(await database.connections(), 0);
		const idle = await join(server, "ada", ["authenticated"], { subscriptions: [] });
		await unread(idle);
		assert.equal(await database.connections(), 0, "a client that asks for no table needs none");
		const ada = await reader(server, "ada");
		assert.equal(await database.connections(), 1);
		assert.equal((await status(server)).connection, "listening");
		ada.socket.close();
		idle.socket.close();
		await isClosed();
	};
	// Nobody requests the object's next life: its alarm starts it, and the storage says what is due.
	const second = async () => {
		await inserted("to nobody");
		await until(() => database.sql("select count(*) from realtime_worker.changes"), (count) => count === "0");
		await isClosed();
	};
	try {
		await withServer(first, settings, { persist });
		await withServer(second, settings, { persist });
	} finally {
		rmSync(persist, { recursive: true });
	}
});

test("the Worker dies, and what was committed meanwhile comes, once", async () => {
	const persist = mkdtempSync(path.join(tmpdir(), "realtime-worker-"));
	const subscriptions = [{ id: "m", table: "messages" }];
	const onLog = () => {};
	const first = await database.serve({}, { persist, onLog });
	const ada = await join(first, "ada", ["authenticated"], { recover: true, subscriptions });
	await ada.next(({ type, id }) => type === "subscribed" && id === "m");
	await inserted("before");
	const { epoch, offset } = await ada.next(({ type }) => type === "postgres_changes").then((frame) => ({ ...ada.welcome, ...frame }));
	await first.dispose();
	await inserted("meanwhile");
	const second = await database.serve({}, { persist, onLog });
	try {
		const began = Date.now();
		const back = await join(second, "ada", ["authenticated"], { recover: { epoch, offset }, subscriptions });
		const { new: row } = await back.next(({ type }) => type === "postgres_changes");
		assert.equal(row.body, "meanwhile");
		assert.ok(Date.now() - began < MAX_WAIT + 1_000, `${Date.now() - began} ms`);
		assert.deepEqual(await unread(back), []);
	} finally {
		await second.dispose();
		rmSync(persist, { recursive: true });
	}
});

test("PostgreSQL crashes and comes back: the feed is there within five seconds", () =>
	withServer(async (server, log) => {
		const ada = await reader(server, "ada");
		await database.postgres.stop("SIGQUIT");
		await until(() => log.join("\n"), (text) => text.includes('"database_lost"'));
		await database.postgres.run();
		const began = Date.now();
		await inserted("after the crash");
		assert.equal((await ada.next(({ type }) => type === "postgres_changes")).new.body, "after the crash");
		assert.ok(Date.now() - began < MAX_WAIT, `${Date.now() - began} ms`);
		assert.equal(ada.socket.readyState, ada.socket.OPEN);
	}));

test("claims of more than two megabytes together are stored and judged", () =>
	withServer(async (server) => {
		const readers = [];
		// A row of an object's storage holds two megabytes.
		for (let index = 0; index < 240; index += 1) {
			const claims = { padding: "\u00e9".repeat(5_000) };
			readers.push(await join(server, `user-${index}`, ["authenticated"], { claims }));
		}
		const answers = await Promise.all(readers.map((client) => subscribe(client, "m", { table: "messages" })));
		assert.deepEqual([...new Set(answers.map(({ type }) => type))], ["subscribed"]);
		await database.sql("insert into messages (owner, body) values ('user-0', 'first'), ('user-239', 'last')");
		assert.deepEqual([(await readers[0].next()).new.body, (await readers[239].next()).new.body], ["first", "last"]);
		assert.deepEqual(await unread(readers[120]), []);
	}));

for (const [problem, url] of [
	["wrong_password", () => database.url({ password: "another" })],
	["unknown_database", () => database.url({ name: "nowhere" })],
	["not_installed", () => database.url({ name: "postgres" })],
	["unreachable", () => database.url({ port: 1 })],
	["malformed_url", () => "mysql://127.0.0.1/app"],
	["insecure_url", () => "postgres://u:p@db.example.com/app?sslmode=disable"],
	["connection_missing", () => ""],
]) {
	test(`${problem} is said in the status and in the log, without the URL`, () =>
		withServer(
			async (server, log) => {
				const told = await status(server);
				assert.deepEqual([told.problem, told.database], [problem, null]);
				const text = `${JSON.stringify(told)}\n${log.join("\n")}`;
				assert.ok(log.some((line) => /"(database_lost|query_failed)"/.test(line) && line.includes(`"${problem}"`)), text);
				for (const secret of ["postgres://", "mysql://", "local-only", "another"]) assert.ok(!text.includes(secret), text);
			},
			{},
			{ vars: { DATABASE_URL: url() } },
		));
}

test("through a pool, which has no knocks, the doorbell is one", () =>
	withServer(
		async (server) => {
			const ada = await reader(server, "ada");
			assert.equal((await status(server)).connection, "polling");
			await inserted("rung");
			const answer = await ask(server, "wake");
			assert.equal(answer.status, 202);
			assert.equal((await ada.next()).new.body, "rung");
		},
		{ connection: "POOL", pollMilliseconds: 600_000 },
		{ worker: { hyperdrives: { POOL: database.url() } } },
	));

test("through a pool, without a doorbell, changes come all the same", () =>
	withServer(
		async (server) => {
			const ada = await reader(server, "ada");
			await inserted("polled");
			assert.equal((await ada.next()).new.body, "polled");
		},
		{ connection: "POOL", pollMilliseconds: 200 },
		{ worker: { hyperdrives: { POOL: database.url() } } },
	));

test("the doorbell and the status are for holders of the access token", () =>
	withServer(async (server) => {
		assert.equal((await ask(server, "wake", { token: "another" })).status, 401);
		assert.equal((await ask(server, "status", { method: "GET", token: "another" })).status, 401);
		assert.equal((await ask(server, "wake?database=other")).status, 400);
	}));
