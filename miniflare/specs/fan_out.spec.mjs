/**
 * Fan-out: a thousand people with three roles, each of whom receives every frame, masked for them.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { insert, join, publish, start, stats } from "../fixture.mjs";

const PEOPLE = 1_000;
const PUBLICATIONS = 100;
const ROLES = ["admin", "hr", "member"];

const server = await start();
after(() => server.dispose());

test("a thousand sockets get a hundred publications, each as its role may see it", async () => {
	const clients = [];
	while (clients.length < PEOPLE) {
		const next = Array.from({ length: 50 }, (_, index) => clients.length + index);
		clients.push(...(await Promise.all(next.map((index) => join(server, `user-${index}`, [ROLES[index % 3]])))));
	}
	assert.equal((await stats(server)).connections, PEOPLE);

	const maskingConfig = {
		ssn: { type: "ssn", show: { roles: ["admin"], or: "owner" } },
		salary: { type: "redact", show: { roles: ["admin", "hr"] } },
	};
	for (let id = 0; id < PUBLICATIONS; id += 1) {
		const row = { id, userId: `user-${id}`, ssn: `123-45-${1000 + id}`, salary: id };
		assert.equal((await publish(server, { ...insert("employees", row), maskingConfig })).delivered, PEOPLE);
	}

	let frames = 0;
	for (const [index, client] of clients.entries()) {
		const role = ROLES[index % 3];
		await client.next((frame) => frame.new?.id === PUBLICATIONS - 1);
		// The first frame is the welcome.
		for (const [id, frame] of client.frames.slice(1).entries()) {
			const sees = role === "admin" || index === id;
			assert.deepEqual(frame.new, {
				id,
				userId: `user-${id}`,
				ssn: sees ? `123-45-${1000 + id}` : `*****${1000 + id}`,
				salary: role === "member" ? "[REDACTED]" : id,
			});
			frames += 1;
		}
	}
	assert.equal(frames, PEOPLE * PUBLICATIONS);
	const { publications, deliveries } = await stats(server);
	assert.deepEqual([publications, deliveries], [PUBLICATIONS, PEOPLE * PUBLICATIONS]);
	for (const { socket } of clients) socket.terminate();
});
