/**
 * The built Worker on a local workerd: what `cargo xtask dev`, the specs and the benchmark all start.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Log, LogLevel, Miniflare } from "miniflare";
import { parse } from "smol-toml";

const checkout = fileURLToPath(new URL("..", import.meta.url));
const BINDING = "BROADCASTER";

/**
 * Starts the Worker of `build/` as wrangler.toml describes it. One process can start several, which share nothing.
 *
 * @param {object} [options]
 * @param {Record<string, unknown>} [options.vars] variables and secrets, over the ones of wrangler.toml
 * @param {Record<string, unknown>} [options.defaults] variables that wrangler.toml may have otherwise
 * @param {number} [options.port] 0, any free one, unless given
 * @param {string} [options.persist] the folder that keeps the Durable Objects' storage; without it, it lives as long as the server
 * @param {object} [options.worker] more Miniflare options of this Worker, such as `outboundService` to stand in for the internet
 * @param {string} [options.registry] the folder by which Workers of other processes find this one for a service binding, as wrangler's do
 * @param {number} [options.inspectorPort] where V8's inspector listens; nowhere unless given
 * @param {object[]} [options.workers] more Workers beside it, in Miniflare's options
 * @param {(entry: {level: string, message: string, timestamp: number}) => void} [options.onLog] takes what the Worker
 *   logs, and its uncaught errors; without it, they are printed
 */
export async function startServer({ vars = {}, defaults = {}, port = 0, persist, worker = {}, registry, inspectorPort, workers = [], onLog = print } = {}) {
	const config = parse(readFileSync(`${checkout}wrangler.toml`, "utf8"));
	const miniflare = new Miniflare({
		host: "127.0.0.1",
		port,
		// Miniflare would ask Cloudflare where this machine is.
		cf: false,
		log: new Log(LogLevel.ERROR),
		// Otherwise workerd does not report uncaught errors.
		verbose: true,
		handleStructuredLogs: (entry) => passOn(entry, onLog),
		durableObjectsPersist: persist,
		unsafeDevRegistryPath: registry,
		inspectorPort,
		workers: [{ ...describe(config, { ...defaults, ...config.vars, ...vars }), ...worker }, ...workers],
	});
	const { origin } = await miniflare.ready;
	const { class_name: ours } = config.durable_objects.bindings.find(({ name }) => name === BINDING);
	// A stand-in for this Worker has its own class.
	const [{ className } = { className: ours }] = Object.values(worker.durableObjects ?? {});

	return {
		/** The Miniflare object, for features that are not wrapped here. */
		mf: miniflare,
		/** Its address, such as `http://127.0.0.1:8787`. */
		url: origin,
		/**
		 * Takes an organization's object out of memory, as the runtime does when it is idle, and what a crash amounts to.
		 *
		 * @param {string} organizationId
		 * @param {"hibernate" | "close"} webSockets whether its sockets stay open (and it is woken by them) or break with 1006
		 */
		evict: async (organizationId, webSockets) => {
			const evict = () => miniflare.unsafeEvictDurableObject(config.name, className, { name: organizationId, webSockets });
			await evict().catch(async (error) => {
				// Trying again, for however long, has never helped.
				if (isStuck(error)) throw new Error("sockets that opened at the same moment keep an object from being evicted: open one after the other", { cause: error });
				// On a slow machine it may have hibernated by itself, with sockets that are to break: any request wakes it.
				if (!error.message.includes("not currently running")) throw error;
				const objects = await miniflare.getDurableObjectNamespace(BINDING, config.name);
				await objects.getByName(organizationId).fetch("https://object/stats").then((answer) => answer.text());
				await evict();
			});
		},
		/** The same for one of its relays, by number. */
		evictRelay: (organizationId, relay, webSockets) =>
			miniflare.unsafeEvictDurableObject(config.name, "Relay", { name: `${relay}/${organizationId}`, webSockets }),
		/** Stops it. */
		dispose: () => miniflare.dispose(),
	};
}

/** The Worker of wrangler.toml as Miniflare options, with these variables. */
function describe(config, bindings) {
	const sqliteClasses = new Set(config.migrations.flatMap((migration) => migration.new_sqlite_classes ?? []));
	const durableObjects = config.durable_objects.bindings.map(({ name, class_name: className }) => [
		name,
		{ className, useSQLite: sqliteClasses.has(className) },
	]);
	return {
		name: config.name,
		compatibilityDate: config.compatibility_date,
		compatibilityFlags: config.compatibility_flags,
		modulesRoot: `${checkout}build`,
		modules: [
			{ type: "ESModule", path: `${checkout}build/index.js` },
			{ type: "CompiledWasm", path: `${checkout}build/index_bg.wasm` },
		],
		durableObjects: Object.fromEntries(durableObjects),
		assets: {
			directory: `${checkout}${config.assets.directory}`,
			binding: config.assets.binding,
			routerConfig: { has_user_worker: true, invoke_user_worker_ahead_of_assets: config.assets.run_worker_first },
		},
		bindings,
	};
}

const isStuck = ({ message }) => message.includes("still has active references");

/** Of workerd's own output, only uncaught errors with the Worker's stack are of interest. */
function passOn(entry, onLog) {
	const uncaught = entry.message.match(/^uncaught exception; source = .*?; stack = (.*)$/s);
	if (isStuck(entry)) return;
	if (uncaught) onLog({ ...entry, level: "error", message: `Uncaught ${uncaught[1]}` });
	else if (!/^(uncaught )?exception(;| =) /.test(entry.message)) onLog(entry);
}

function print({ level, message }) {
	const log = level === "error" || level === "warn" ? console.error : console.log;
	log(message);
}
