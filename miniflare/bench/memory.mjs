/**
 * The memory that counts on Cloudflare, V8's heap and the Wasm's, per idle connection of a dialect, and what waking with
 * thousands of sockets costs, beside a bare object that lists its sockets and reads what is attached to them.
 */
import { Fleet } from "./fleet.mjs";
import { startBare, startSupabase, startWorker } from "./sides.mjs";
import { figure, percentile } from "./table.mjs";

export const MEMORY_SOCKETS = 32_000;
const CHANNELS = 3;
/** The first ones fill what grows in steps; they are opened before anything is counted. */
const FIRST = 100;
/** An object has 128 MB; the rest is for what happens. */
const MAX_MEGABYTES = 100;
const MAX_WAKE = 350;
/** Wakes of which the median counts: the first is slower, for its code is new. */
const WAKES = 5;
const MEGABYTE = 1e6;
const INSPECTED = { inspectorPort: 0 };
const startNative = (options) => startWorker({}, options);

const CASES = [
	{ name: "native", size: 10_000, start: startNative, greetings: 1, aims: {} },
	{ name: "native", size: MEMORY_SOCKETS, start: startNative, greetings: 1, aims: { memory: MAX_MEGABYTES, wake: MAX_WAKE } },
	{
		name: `Supabase, ${CHANNELS} channels each`,
		size: 10_000,
		start: startSupabase,
		greetings: CHANNELS,
		target: (worker, organizationId) => ({ url: worker.address(organizationId), headers: {}, hello: joins() }),
		aims: { memory: MAX_MEGABYTES },
	},
];

export async function memory() {
	const rows = [await measureBare(CASES[0].size)];
	for (const one of CASES) rows.push(...(await measure(one)));
	return rows;
}

async function measure({ name, size, start, greetings, target, aims }) {
	const worker = await start(INSPECTED);
	// Local workerd evicts no object to which sockets were opened at the same moment.
	const side = { ...worker, greetings, opening: 1, ...(target && { target: (...of) => target(worker, ...of) }) };
	const fleet = new Fleet(size, MEMORY_SOCKETS);
	try {
		await fleet.open(side, "org_memory", FIRST);
		const before = await worker.heap();
		await fleet.open(side, "org_memory", size - FIRST);
		const after = await worker.heap();
		const { wasmMemory } = await worker.wake("org_memory");
		const label = `${size} idle sockets, ${name}`;
		return [
			figure(`${label}: V8 heap of each`, "B", (after - before) / (size - FIRST)),
			figure(`${label}: V8 heap in all`, "MB", after / MEGABYTE),
			figure(`${label}: memory of the Wasm`, "MB", wasmMemory / MEGABYTE),
			figure(`${label}: both`, "MB", (after + wasmMemory) / MEGABYTE, { most: aims.memory }),
			figure(`${label}: CPU of a wake`, "ms", await wake(worker), { most: aims.wake }),
		];
	} finally {
		fleet.dispose();
		await worker.dispose();
	}
}

/** The least that a wake can cost. */
async function measureBare(size) {
	const bare = await startBare("", INSPECTED);
	const fleet = new Fleet(size, MEMORY_SOCKETS);
	try {
		await fleet.open({ ...bare, opening: 1, target: bare.attached }, "org_memory", size);
		return figure(`${size} idle sockets, bare object: CPU of a wake`, "ms", await wake(bare));
	} finally {
		fleet.dispose();
		await bare.dispose();
	}
}

/** What a request that wakes the object costs more than the next: the median. */
async function wake(side) {
	const cost = async () => {
		const before = side.cpu();
		await side.wake("org_memory");
		return (side.cpu() - before) / 1e3;
	};
	const costs = [];
	for (let count = 0; count < WAKES; count += 1) {
		await side.hibernate("org_memory");
		costs.push((await cost()) - (await cost()));
	}
	return percentile(costs, 50);
}

function joins() {
	const config = { private: false, presence: { enabled: false } };
	return Array.from({ length: CHANNELS }, (_, index) => JSON.stringify([`${index}`, `${index}`, `realtime:room-${index}`, "phx_join", { config }]));
}
