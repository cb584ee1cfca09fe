/**
 * What the hostile specs share: honest members and an API that publishes ten times a second, measured first alone and then
 * beside an attack.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { residentMemory, workerdChildren } from "./bench/cpu.mjs";
import { join, message, publish } from "./fixture.mjs";

const MEMBERS = 10;
/** Publications of one measurement, at ten a second. */
const PUBLICATIONS = 20;
const INTERVAL = 100;
/** What a busy machine adds to any time, and how much slower the slowest publication may be beside an attack. */
const SLACK = 500;
const RATIO = 10;
const MEGABYTE = 1_000_000;

/**
 * Runs an attack on an organization of its own beside honest members, and holds what it costs them against a quiet run.
 *
 * @param {object} server
 * @param {string} organizationId
 * @param {(organizationId: string) => Promise<{send: () => void, every: number, end?: () => Promise<void>}>} prepare opens
 *   the attackers' sockets; what they send every so many milliseconds begins when the quiet run has ended
 * @param {{megabytes: number}} bounds by how much the memory of workerd may grow
 * @returns the slowest publications in milliseconds, quiet and beside the attack, and the growth in megabytes
 */
export async function attack(server, organizationId, prepare, { megabytes }) {
	const members = await Promise.all(Array.from({ length: MEMBERS }, (_, n) => join(server, `honest${n}`, ["member"], { organizationId })));
	const { send, every, end = async () => {} } = await prepare(organizationId);
	const quiet = await measure(server, organizationId, members);
	const before = memory();
	const timer = setInterval(send, every);
	const beside = await measure(server, organizationId, members).finally(() => clearInterval(timer));
	const grown = (memory() - before) / MEGABYTE;
	await end();
	for (const member of members) member.socket.terminate();
	const figures = `quiet ${quiet.toFixed(0)} ms, beside the attack ${beside.toFixed(0)} ms, ${grown.toFixed(0)} MB`;
	assert.ok(beside <= RATIO * quiet + SLACK, figures);
	assert.ok(grown <= megabytes, figures);
	return figures;
}

/** The time from a request to the last member's frame: the slowest of all publications, each of which reaches everyone. */
async function measure(server, organizationId, members) {
	const times = [];
	for (let n = 0; n < PUBLICATIONS; n += 1) {
		const began = performance.now();
		const mark = `${organizationId} ${began}`;
		const isIt = (frame) => frame.type === "broadcast" && frame.payload === mark;
		await Promise.all([publish(server, { organizationId, ...message(mark) }), ...members.map((member) => member.next(isIt))]);
		times.push(performance.now() - began);
		await pause(INTERVAL - times.at(-1));
	}
	return Math.max(...times);
}

/** The rhythm of the API: the next publication is due when this has passed. */
async function pause(milliseconds) {
	if (milliseconds > 0) await once(AbortSignal.timeout(milliseconds), "abort");
}

/** What workerd has in memory, in bytes. */
export function memory() {
	return workerdChildren().reduce((sum, pid) => sum + residentMemory(pid), 0);
}

/** How many frames of each type or code a client has got so far. */
export function tally({ frames }) {
	const counts = {};
	for (const { type, code } of frames) counts[code ?? type] = (counts[code ?? type] ?? 0) + 1;
	return counts;
}
