/**
 * `realtime-worker/testing`: a realtime Worker in memory, for the unit tests of an application.
 *
 * @module
 */
import type { ClientOptions } from "../client/options.ts";
import type { RealtimeEnv } from "../server/realtime.ts";
import type { Tables } from "../server/table.ts";
import type { Channel } from "../view/channels.ts";
import type { Viewer } from "../view/viewer.ts";
import { TestSocket } from "./connection.ts";
import { Organization } from "./organization.ts";
import type { Publication } from "./rules.ts";

export type { Channel, Publication, TestSocket };

/** What the test server is told: the deployment's tables and channels. */
export interface TestServerOptions {
	/** Tables of `defineTable`. */
	readonly tables?: Tables;
	/** Channel policies, as in the Worker's `REALTIME`. */
	readonly channels?: readonly Channel[];
}

/** A realtime Worker in memory. */
export interface TestServer {
	/** The address for `createClient`. */
	readonly url: string;
	/** The environment for `createRealtime`. */
	readonly env: RealtimeEnv;
	/** What was published through `env`, in order. */
	readonly published: readonly (Publication & { readonly organizationId: string })[];
	/** The options for a client of someone; they look at the organization `org_test`, unless they say another. */
	as(viewer: Partial<Viewer>): ClientOptions;
	/** Settles when everything that is on its way has arrived. What waits for a timer, as a client that comes back, does not count. */
	settled(): Promise<void>;
	/** Breaks every connection, as a lost network does. Clients come back, and resume. */
	disconnect(): void;
}

/**
 * Makes a realtime Worker in memory. It has the native protocol with tables' rules, filters (but for patterns), topics, presence
 * and recovery, by the same code as `view`; it has no limits, keeps everything, and verifies no token.
 *
 * @example
 * ```ts
 * import { createClient } from "realtime-worker/client";
 * import { createRealtime, defineTable } from "realtime-worker/server";
 * import { createTestServer } from "realtime-worker/testing";
 *
 * const tables = { claims: defineTable({ masking: { ssn: { type: "ssn", show: { roles: ["admin"] } } } }) };
 * const server = createTestServer({ tables });
 * const client = createClient(server.url, server.as({ userId: "u7", roles: ["member"] }));
 * client.on("claims", "INSERT", ({ new: claim }) => console.log(claim)); // ssn: "*****6789"
 *
 * await server.settled();
 * await createRealtime(server.env, { tables }).insert("claims", { id: "c1", ssn: "123-45-6789" }, "org_test");
 * await server.settled();
 * console.log(server.published.length);
 * client.close();
 * ```
 */
export function createTestServer({ tables = {}, channels = [] }: TestServerOptions = {}): TestServer {
	const organizations = new Map<string, Organization>();
	const published: (Publication & { organizationId: string })[] = [];
	const organization = (id: string) => {
		const found = organizations.get(id) ?? new Organization(id, { tables, channels });
		organizations.set(id, found);
		return found;
	};
	let acts = 0;
	const act = (what: () => unknown) => {
		acts += 1;
		queueMicrotask(what);
	};
	class Socket extends TestSocket {
		constructor(url: string) {
			super(organization(new URL(url).searchParams.get("organizationId") ?? ""), act);
		}
	}
	return {
		url: "http://realtime.test",
		env: { REALTIME: { fetch: async (_url, { body }) => Response.json(accept(JSON.parse(body)), { status: 202 }) }, ACCESS_TOKEN: "of the test server" },
		published,
		as: (viewer) => {
			const whole = { organizationId: "org_test", roles: [], ...viewer } as Viewer & { organizationId: string };
			const backoff = { base: 1, max: 1 };
			return { organizationId: whole.organizationId, token: JSON.stringify(whole), WebSocket: Socket, backoff };
		},
		async settled() {
			// A turn in which nothing was sent or handed over is the end of it.
			for (let before = -1; before !== acts; ) {
				before = acts;
				await new Promise((resolve) => setTimeout(resolve));
			}
		},
		disconnect() {
			for (const { connections } of organizations.values()) for (const { socket } of connections) socket.close(1006);
		},
	};

	/** Takes what `POST /broadcast` takes, each id once. */
	function accept({ organizationId, messages, ...single }: { organizationId: string; messages?: Publication[] } & Publication) {
		const all = messages ?? [single];
		const news = all.filter(({ id }) => !published.some((one) => one.id === id && one.organizationId === organizationId));
		const one = organization(organizationId);
		const delivered = news.map((publication) => {
			published.push({ ...publication, organizationId });
			return one.publish(publication);
		});
		const sum = delivered.reduce((total, count) => total + count, 0);
		return { accepted: all.length, duplicate: news.length === 0, ...one.position, delivered: sum };
	}
}
