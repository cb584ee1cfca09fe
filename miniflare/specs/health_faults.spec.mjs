/**
 * A fault, the storage's own error text, is in the log and nowhere else.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { message, post, publish, socketUrl, start, ticketFor, tokenOf } from "../fixture.mjs";
import { connect, UpgradeRefused } from "../client.mjs";

const persist = await mkdtemp(path(tmpdir(), "faults-"));
after(() => rm(persist, { recursive: true, force: true }));

/** Changes the tables of the only organization that has any, behind the Worker's back. */
async function spoil(statements) {
	const files = (await readdir(persist, { recursive: true })).filter((file) => file.endsWith(".sqlite"));
	let spoilt = 0;
	for (const file of files) {
		const database = new DatabaseSync(path(persist, file));
		if (database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get() !== undefined) {
			database.exec(statements);
			spoilt += 1;
		}
		database.close();
	}
	assert.equal(spoilt, 1, files.join());
}

/** Starts on the same storage. `saw` waits for a log line with these values; `message` need only contain its text. */
async function restart() {
	const lines = [];
	const logged = new EventEmitter();
	const onLog = ({ message: line }) => {
		lines.push(line);
		logged.emit("line");
	};
	const server = await start({}, { persist, onLog });
	const saw = async (words) => {
		const isFault = (line) => line.includes('"event":"fault"') && line.includes(words);
		while (!lines.some(isFault)) await once(logged, "line");
		assert.ok(!lines.some((line) => line.includes('"message":null')), lines.join("\n"));
	};
	return { ...server, saw };
}

const INTERNAL = { code: "internal", message: "The server failed; nothing of the request was kept." };

async function assertInternal(answer) {
	assert.equal(answer.status, 500);
	assert.deepEqual((await answer.json()).error, INTERNAL);
}

async function assertUpgradeInternal(url) {
	const isInternal = (error) => {
		assert.ok(error instanceof UpgradeRefused);
		assert.deepEqual([error.status, JSON.parse(error.body).error], [500, INTERNAL]);
		return true;
	};
	await assert.rejects(connect(url), isInternal);
}

test("what the storage says is logged, and nobody is answered with it", async () => {
	const before = await start({}, { persist });
	await publish(before, { organizationId: "org_1", messages: [message(1)] });
	await before.dispose();

	await spoil("DROP TABLE idempotency; DROP TABLE tickets");
	const server = await restart();
	const publishTwice = { organizationId: "org_1", messages: [message(2, { id: "twice" })] };
	await assertInternal(await post(server, publishTwice));
	await server.saw("no such table: idempotency");
	await assertUpgradeInternal(socketUrl(server, { ws_ticket: await ticketFor(server, tokenOf("ann")) }));
	await server.saw("no such table: tickets");
	await publish(server, message(3));
	await server.dispose();

	await spoil("UPDATE meta SET value = '999' WHERE key = 'schema'");
	const later = await restart();
	await assertInternal(await post(later, { organizationId: "org_1", messages: [message(4)] }));
	await assertUpgradeInternal(socketUrl(later));
	await later.saw("the storage was written by a later version");
	await later.dispose();
});
