/**
 * Shared by the hostile specs: honest members and an API that publishes ten times a second, measured first alone and
 * then during an attack.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { after } from "node:test";
import { setTimeout } from "node:timers/promises";
import { residentMemory, workerdChildren } from "./bench/cpu.mjs";
import { join, message, publish, start } from "./fixture.mjs";

const MEMBERS = 10;
/** Publications of one run, at ten a second. */
const PUBLICATIONS = 20;
const INTERVAL = 100;
/** The p99 during an attack may be this many times the quiet one, or this many milliseconds above it. */
const RATIO = 2;
const SLACK = 100;
/** Another program may disturb one pair of runs; a harmful attack disturbs each. */
const MAX_PAIRS = 5;
const MEGABYTE = 1_000_000;

/**
 * A server with its storage in memory, if the machine has such a folder: a busy disk stalls for seconds, and the
 * Worker's cost is what is measured.
 */
export async function serve(realtime) {
	const folder = await mkdtemp(`${existsSync("/dev/shm") ? "/dev/shm" : tmpdir()}/hostile-`);
	const server = await start(realtime, { persist: folder });
	after(async () => {
		await server.dispose();
		await rm(folder, { recursive: true, force: true });
	});
	return server;
}

/**
 * Runs an attack on an organization of its own beside honest members, and compares their times with those of a quiet run.
 *
 * @param {import("node:test").TestContext} t told the figures
 * @param {object} server
 * @param {string} organizationId
 * @param {(organizationId: string) => Promise<{send: () => void, every: number}>} prepare opens the attackers' sockets; what
 *   they send every so many milliseconds begins when the quiet run has ended
 * @param {{megabytes: number}} bounds by how much the memory of workerd may grow
 * @returns {Promise<number>} how many events the API has published
 */
export async function attack(t, server, organizationId, prepare, { megabytes }) {
	const members = await Promise.all(Array.from({ length: MEMBERS }, (_, n) => join(server, `honest${n}`, ["member"], { organizationId })));
	const { send, every } = await prepare(organizationId);
	const before = memory();
	let published = 0;
	let held = false;
	let figures;
	while (!held && published < MAX_PAIRS * 2 * PUBLICATIONS) {
		const quiet = await measure(server, organizationId, members);
		const timer = setInterval(send, every);
		const beside = await measure(server, organizationId, members).finally(() => clearInterval(timer));
		published += 2 * PUBLICATIONS;
		const grown = (memory() - before) / MEGABYTE;
		figures = `p99 ${quiet.toFixed(0)} ms, beside the attack ${beside.toFixed(0)} ms; ${grown.toFixed(0)} MB more`;
		t.diagnostic(figures);
		assert.ok(grown <= megabytes, figures);
		held = beside <= Math.max(RATIO * quiet, quiet + SLACK);
	}
	for (const member of members) member.socket.terminate();
	assert.ok(held, figures);
	return published;
}

/** The p99 of the times from a request to its answer and to each member's frame, in milliseconds. */
async function measure(server, organizationId, members) {
	const times = [];
	for (let n = 0; n < PUBLICATIONS; n += 1) {
		const began = performance.now();
		const mark = `${organizationId} ${began}`;
		const isIt = (frame) => frame.type === "broadcast" && frame.payload === mark;
		const heard = members.map((member) => member.next(isIt));
		const all = [say(server, { organizationId, id: mark, ...message(mark) }), ...heard];
		await Promise.all(all.map((one) => one.then(() => times.push(performance.now() - began))));
		// The pace of the API.
		await setTimeout(Math.max(0, INTERVAL - times.at(-1)));
	}
	return times.sort((a, b) => a - b)[Math.ceil(times.length * 0.99) - 1];
}

/** Publishes, and retries if the runtime has just closed the idle connection, which the id makes harmless. */
function say(server, event) {
	return publish(server, event).catch(() => publish(server, event));
}

/** workerd's memory, in bytes. */
export function memory() {
	return workerdChildren().reduce((sum, pid) => sum + residentMemory(pid), 0);
}

/** How many frames of each type, or errors of each code, a client has received. */
export function tally({ frames }) {
	const counts = {};
	for (const { type, code } of frames) counts[code ?? type] = (counts[code ?? type] ?? 0) + 1;
	return counts;
}
