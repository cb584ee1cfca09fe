/**
 * Clients that stop reading: unread bytes wait in memory, so these clients are closed before it is too much.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { join, message, publish, start, stats, unread } from "../fixture.mjs";
import { memory } from "../hostile.mjs";

const UNREAD = 1 << 20;
const server = await start({ limits: { unreadBytes: UNREAD, publicationsPerSecond: 1_000 } });
after(() => server.dispose());

const MEGABYTE = 1_000_000;
const payload = "x".repeat(MEGABYTE / 4);
const say = (organizationId) => publish(server, { organizationId, ...message(payload), history: false });

/** A member that answers the server's pings, as the SDK does. */
async function reader(organizationId) {
	const member = await join(server, "ada", ["member"], { organizationId });
	member.socket.on("message", (data) => {
		if (data.toString() === '{"type":"ping"}') member.send('{"type":"ping"}');
	});
	return member;
}

test("sockets that stop reading are closed, and memory does not grow", async (t) => {
	const organizationId = "slow";
	const member = await reader(organizationId);
	const slow = await Promise.all(Array.from({ length: 10 }, (_, n) => join(server, `slow${n}`, ["member"], { organizationId })));
	// The underlying socket no longer reads; what fits into the system's buffers is still sent.
	for (const { socket } of slow) socket.pause();
	const isIt = (frame) => frame.type === "broadcast";
	const curve = [];
	for (let n = 0; n < 120; n += 1) {
		await Promise.all([say(organizationId), member.next(isIt)]);
		// The limit is four messages: its answer to a ping must not come after them.
		await unread(member);
		if (n % 20 === 19) curve.push(Math.round(memory() / MEGABYTE));
	}
	t.diagnostic(`MB after each 5 MB to 10 slow readers: ${curve.join(", ")}`);
	const { tooSlow, connections } = await stats(server, organizationId);
	assert.deepEqual([tooSlow, connections], [10, 1]);
	// Without a bound, it would have grown by 250 MB.
	assert.ok(curve.at(-1) - curve[0] < 80, curve.join(", "));
	for (const client of slow) client.socket.resume();
	const endings = await Promise.all(slow.map((client) => client.closed));
	assert.ok(endings.every(({ code, reason }) => code === 1013 && reason === "too_slow"), JSON.stringify(endings));
	assert.ok((await unread(member)).every((frame) => frame.type !== "error"));
	await member.close();
});

test("a closed slow reader may come back, and one that reads is asked and stays", async () => {
	const organizationId = "back";
	const member = await reader(organizationId);
	for (let n = 0; n < 12; n += 1) await Promise.all([say(organizationId), member.next((frame) => frame.type === "broadcast")]);
	assert.ok(member.frames.some((frame) => frame.type === "ping"), "asked");
	assert.equal((await stats(server, organizationId)).tooSlow, 0);
	await member.close();
	const again = await join(server, "ada", ["member"], { organizationId });
	await again.close();
});
