/**
 * The specs' own client, against a scripted server.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, test } from "node:test";
import { WebSocketServer } from "ws";
import { connect, UpgradeRefused } from "../client.mjs";

const sockets = new WebSocketServer({ noServer: true });
sockets.on("connection", (socket) => {
	socket.send('{"hello":1}');
	socket.on("message", (data, isBinary) => {
		if (data.toString() === "leave") socket.close(4001, "as told");
		else socket.send(data, { binary: isBinary });
	});
});

const http = createServer();
http.on("upgrade", (request, socket, head) => {
	if (request.url === "/refused") socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
	else sockets.handleUpgrade(request, socket, head, (ws) => sockets.emit("connection", ws));
});
await once(http.listen(0, "127.0.0.1"), "listening");
const url = `http://127.0.0.1:${http.address().port}`;
after(() => http.close());

test("frames are read in order, as what they are", async () => {
	const client = await connect(url);
	for (const frame of [{ id: 1 }, "text", Buffer.from([7]), { id: 2 }]) client.send(frame);
	assert.deepEqual(await client.next(), { hello: 1 });
	assert.deepEqual(await client.next(), { id: 1 });
	assert.equal(await client.next(), "text");
	assert.deepEqual(await client.next((frame) => Buffer.isBuffer(frame)), Buffer.from([7]));
	assert.deepEqual(await client.next(({ id }) => id === 2), { id: 2 });
	assert.equal(client.frames.length, 5);
	await client.close();
});

test("a barrier gives what came before its answer", async () => {
	const client = await connect(url);
	client.send({ id: 1 });
	const before = await client.sync({ barrier: true }, ({ barrier }) => barrier);
	assert.deepEqual(before, [{ hello: 1 }, { id: 1 }]);
	assert.deepEqual(await client.sync({ barrier: true }, ({ barrier }) => barrier), []);
	await client.close();
});

test("a close is told with its code, also to who waits for a frame", async () => {
	const client = await connect(url);
	client.send("leave");
	await assert.rejects(client.next((frame) => frame.id), /closed \(4001 as told\).*hello/);
	assert.deepEqual(await client.closed, { code: 4001, reason: "as told" });
});

test("a frame that does not come is an error", async () => {
	const client = await connect(url);
	await assert.rejects(client.next((frame) => frame.id, 20), /did not come; unread: \[/);
	await client.close();
});

test("a refused upgrade tells its status and body", async () => {
	await assert.rejects(connect(`${url}/refused`), (error) => {
		assert.ok(error instanceof UpgradeRefused);
		return error.status === 401 && error.body === "no";
	});
});
