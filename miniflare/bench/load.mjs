/**
 * A process full of clients, so that their CPU time is not workerd's: opens the sockets that it is told to, counts what
 * they receive, and says so whenever each of a group could have received one more frame.
 */
import { on, once } from "node:events";
import { WebSocket } from "ws";

/** Sockets that are being opened at a time. */
const OPENING = 32;
/** An address has 28,000 ports for connections of its own; on Linux all of 127.0.0.0/8 is this machine's. */
const LOCAL = process.platform === "linux" ? `127.0.0.${2 + (process.pid % 250)}` : undefined;

process.on("message", ({ group, targets, greetings, opening = OPENING }) => {
	open(group, targets, greetings, opening).then(
		() => process.send({ group, opened: targets.length }),
		(error) => process.send({ group, failure: `a socket could not be opened: ${error.message}` }),
	);
});

async function open(group, targets, greetings, opening) {
	const count = { frames: 0, bytes: 0 };
	const receive = (data) => {
		count.frames += 1;
		count.bytes += data.length;
		if (count.frames % targets.length === 0) process.send({ group, ...count });
	};
	const waiting = targets.values();
	const openNext = async () => {
		for (const { url, headers, hello } of waiting) {
			const socket = new WebSocket(url, { headers, perMessageDeflate: false, skipUTF8Validation: true, localAddress: LOCAL });
			if (hello !== undefined) socket.once("open", () => [hello].flat().forEach((frame) => socket.send(frame)));
			await greeted(socket, greetings);
			socket.on("message", receive);
			socket.on("close", (code) => process.send({ group, failure: `a socket was closed: ${code}` }));
		}
	};
	await Promise.all(Array.from({ length: opening }, openNext));
}

/** Settles with the last of the frames that a socket gets when it is opened. */
async function greeted(socket, greetings) {
	if (greetings === 0) return once(socket, "open");
	let frames = 0;
	for await (const _ of on(socket, "message")) {
		frames += 1;
		if (frames === greetings) return undefined;
	}
	return undefined;
}
