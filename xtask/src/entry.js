// The module that workerd loads: it gives the Wasm's exports the form that the runtime asks for, and starts the Wasm anew
// after a panic. A panic aborts the instance; what it held in memory is lost, for all objects of the isolate.
import * as wasm from "./index.js";

/** Longer messages are closed with 1009 (RFC 6455, 7.4.1) before they are copied into the Wasm's memory. */
const MAX_MESSAGE_LENGTH = 4_194_304;

Error.stackTraceLimit = 100;
const instance = wasm.__worker_init_state();

addEventListener("error", ({ error }) => notice(error));

function notice(error) {
	if (!(error instanceof WebAssembly.RuntimeError)) return;
	console.error("Critical", error);
	instance.criticalError = true;
}

function startAnewAfterPanic() {
	if (!instance.criticalError) return;
	console.log("Reinitializing Wasm application");
	wasm.__wbg_reset_state();
	instance.criticalError = false;
	instance.instanceId += 1;
}

/** Calls into the Wasm, and sees whether that ends in a panic, now or later. */
function guarded(call) {
	startAnewAfterPanic();
	try {
		const result = call();
		return result instanceof Promise ? result.catch(rethrow) : result;
	} catch (error) {
		return rethrow(error);
	}
}

function rethrow(error) {
	notice(error);
	throw error;
}

/** A class of Durable Objects. After a panic its objects are constructed again when they are next called. */
function durableObject(Exported) {
	class Guarded {
		constructor(...given) {
			this.given = given;
			this.construct();
		}

		construct() {
			startAnewAfterPanic();
			this.instanceId = instance.instanceId;
			try {
				this.exported = new Exported(...this.given);
			} catch (error) {
				instance.criticalError = true;
				throw error;
			}
		}

		call(method, given) {
			return guarded(() => {
				if (this.instanceId !== instance.instanceId) this.construct();
				return this.exported[method](...given);
			});
		}
	}
	for (const method of Object.getOwnPropertyNames(Exported.prototype)) {
		if (method === "constructor" || method === "free" || method.startsWith("_")) continue;
		Guarded.prototype[method] = function (...given) {
			return this.call(method, given);
		};
	}
	const { webSocketMessage } = Guarded.prototype;
	if (webSocketMessage) {
		Guarded.prototype.webSocketMessage = function (socket, message) {
			if ((message.length ?? message.byteLength) > MAX_MESSAGE_LENGTH) return socket.close(1009, "message too big");
			return webSocketMessage.call(this, socket, message);
		};
	}
	return Guarded;
}

/** A handler of the Worker itself. */
function handler(exported) {
	return (given, env, context) => guarded(() => exported(given, env, context));
}

// What follows is written by the build, for what the Wasm exports.
