/**
 * Strangers leave nothing behind: an object at which nobody has authenticated has no storage once they are gone.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as pathOf } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { connect } from "../client.mjs";
import { join, message, publish, socketUrl, start, stats, unread } from "../fixture.mjs";

const STRANGERS = 500;
/** How many open a socket at the same time. */
const PORTION = 50;

test("strangers leave no storage behind, members do", async (t) => {
	const folder = await temporaryFolder(t);
	const server = await start({}, { persist: folder });
	t.after(() => server.dispose());

	const organizations = Array.from({ length: STRANGERS }, (_, index) => `made_up_${index}`);
	const strangers = [];
	// If all connected at once, the machine would refuse some.
	for (let first = 0; first < STRANGERS; first += PORTION) {
		const some = organizations.slice(first, first + PORTION);
		strangers.push(...(await Promise.all(some.map((organizationId) => connect(socketUrl(server, { organizationId }))))));
	}
	// Half disconnect by themselves; the others are closed when their time to authenticate is over.
	for (const [index, stranger] of strangers.entries()) {
		if (index % 2) stranger.close();
	}
	await Promise.all(strangers.map((stranger) => stranger.closed));
	// An object deletes its storage while it handles the end of its last socket, so its figures come after that.
	for (let first = 0; first < STRANGERS; first += PORTION) {
		await Promise.all(organizations.slice(first, first + PORTION).map((organizationId) => figures(server, organizationId)));
	}
	assert.deepEqual(await tables(t, folder), new Map());

	await join(server, "ada");
	await publish(server, message("retained"));
	const stored = await tables(t, folder);
	assert.equal(stored.size, 1);
	assert.ok([...stored.values()][0].includes("history"));
});

test("what a deploy leaves of its members is removed unread", async (t) => {
	const folder = await temporaryFolder(t);
	const before = await start({}, { persist: folder });
	const members = await Promise.all(Array.from({ length: 20 }, (_, index) => join(before, `u${index}`)));
	for (const member of members) member.send({ type: "presence_track", metadata: { filler: "x".repeat(4_000) } });
	await Promise.all(members.map((member) => unread(member)));
	assert.equal((await stats(before)).presence, 20);
	await before.dispose();
	assert.equal(await count(t, folder, "presence"), 20);

	const behind = await start({}, { persist: folder });
	t.after(() => behind.dispose());
	assert.equal((await stats(behind)).presence, 0);
	const late = await join(behind, "late");
	late.send({ type: "presence_track", metadata: {} });
	await unread(late);
	assert.equal(await count(t, folder, "presence"), 1);
});

async function figures(server, organizationId) {
	const { connections } = await stats(server, organizationId);
	assert.equal(connections, 0, organizationId);
}

/** The rows of a table, over all objects. */
async function count(t, folder, table) {
	let rows = 0;
	await eachDatabase(t, folder, (database) => {
		const { found } = database.prepare("SELECT count(*) AS found FROM sqlite_master WHERE name = ?").get(table);
		if (found > 0) rows += database.prepare(`SELECT count(*) AS rows FROM ${table}`).get().rows;
	});
	return rows;
}

/** The tables of every object that has any. Even an empty database has one page, which the runtime writes. */
async function tables(t, folder) {
	const found = new Map();
	await eachDatabase(t, folder, (database, file) => {
		const names = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all().map(({ name }) => name);
		// The file with the runtime's own alarms is not an object's.
		if (names.length > 0 && !names.includes("_cf_ALARM")) found.set(file, names);
	});
	return found;
}

/** Opens the databases of all objects, one after the other. They are copied, because the server has them open. */
async function eachDatabase(t, folder, look) {
	const copy = await temporaryFolder(t);
	await cp(folder, copy, { recursive: true });
	const files = (await readdir(copy, { recursive: true })).filter((name) => name.includes("Broadcaster") && name.endsWith(".sqlite"));
	for (const file of files) {
		const database = new DatabaseSync(pathOf(copy, file));
		look(database, file);
		database.close();
	}
}

async function temporaryFolder(t) {
	// In memory, if the machine has a folder there: hundreds of databases are created.
	const folder = await mkdtemp(pathOf(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "strangers-"));
	t.after(() => rm(folder, { recursive: true, force: true }));
	return folder;
}
