/**
 * Start-up: from starting workerd to its first answer. What the Worker takes longer than the bare object is the loading
 * of its Wasm, which both have in common is workerd itself.
 */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { startBare, startWorker } from "./sides.mjs";
import { comparison, figure } from "./table.mjs";

const MAX_KILOBYTES = 800;

/** @param {{rounds: number}} options */
export async function startUp({ rounds }) {
	const wasm = readFileSync(new URL("../../build/index_bg.wasm", import.meta.url));
	const [workers, bares] = [[], []];
	for (let round = 0; round < rounds; round += 1) {
		workers.push(await once(startWorker));
		bares.push(await once(() => startBare("")));
	}
	const row = (name, pick) => comparison(`start to first answer, ${name}`, "ms", workers.map(pick), bares.map(pick));
	return [
		figure("Wasm, gzipped", "KB", gzipSync(wasm).length / 1000, { most: MAX_KILOBYTES }),
		row("time", ({ milliseconds }) => milliseconds),
		row("CPU", ({ cpuMilliseconds }) => cpuMilliseconds),
	];
}

async function once(start) {
	const { startUp: measured, dispose } = await start();
	await dispose();
	return measured;
}
