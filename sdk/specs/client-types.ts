/** What the types promise. It is compiled, and never run. */
import { type Change, createClient, type DefinitionsOf, where } from "../src/client/index.ts";
import { defineRealtime, defineTable, payload } from "../src/server/index.ts";
import { useBroadcast, useChanges, usePresence, useTable } from "../src/react/index.ts";

type Claim = { id: string; title: string; status: "open" | "closed" };
type App = {
	tables: { claims: Claim; people: { id: number; name: string } };
	broadcasts: { "extraction:started": { materialId: string }; ping: null };
	topics: { [room: `room:${string}`]: { cursor: { x: number }; typing: boolean } };
	presence: { name: string };
};

const client = createClient<App>("https://example.com", { organizationId: "org_1", getToken: async () => "token" });
createClient("https://example.com", { organizationId: "org_1", token: "token" });
// @ts-expect-error A token comes from somewhere.
createClient("https://example.com", { organizationId: "org_1" });
// @ts-expect-error From one place.
createClient("https://example.com", { organizationId: "org_1", token: "token", getToken: () => "token" });
// @ts-expect-error Of some organization.
createClient("https://example.com", { token: "token" });

client.on("claims", "INSERT", (change) => {
	const title: string = change.new.title;
	const old: null = change.old;
	// @ts-expect-error No such column.
	change.new.name;
	return [title, old];
});
client.on("claims", "DELETE", (change) => {
	const id: string | undefined = change.old.id;
	// @ts-expect-error A deleted row is gone.
	change.new.id;
	return id;
});
client.on("claims", "*", (change) => {
	// @ts-expect-error It may be a delete.
	change.new.id;
	if (change.eventType === "DELETE") return change.old.id;
	const status: "open" | "closed" = change.new.status;
	return status;
});
client.on("*", "INSERT", (change) => {
	if (change.table === "people") return change.new.name;
	const title: string = change.new.title;
	return title;
});
// @ts-expect-error No such table.
client.on("clams", "*", () => {});
// @ts-expect-error No such kind of change.
client.on("claims", "UPSERT", () => {});

client.on.broadcast("extraction:started", ({ payload }) => payload.materialId.length);
client.on.broadcast("*", (message) => {
	if (message.event === "extraction:started") return message.payload.materialId;
	const payload: null = message.payload;
	return payload;
});
// @ts-expect-error No such event.
client.on.broadcast("extraction:begun", () => {});

const room = client.topic("room:1");
room.on("cursor", ({ payload }) => payload.x.toFixed());
void room.send("typing", true);
// @ts-expect-error Of another type.
void room.send("cursor", { x: "1" });
// @ts-expect-error No such topic.
client.topic("hall:1");
room.presence.track({ name: "Ada" });
// @ts-expect-error Metadata has a name.
client.presence.track({ nom: "Ada" });

const { rows } = useTable(client, "claims", { query: async () => [], where: ({ status }) => status === "open" });
const first: Claim | undefined = rows[0];
// @ts-expect-error Rows of another table.
useTable(client, "claims", { query: async (): Promise<{ id: number; name: string }[]> => [] });
useChanges(client, "people", "UPDATE", ({ new: person }) => person.name);
useBroadcast(client, "extraction:started", ({ payload }) => payload.materialId);
const say = useBroadcast(room, "cursor", ({ payload }) => payload.x);
say("cursor", { x: 1 });
// @ts-expect-error No such event of this topic.
say("courser", { x: 1 });
const member: { name: string } | undefined = usePresence(room.presence, { name: "Ada" })[0]?.metadata;

// Filters know the columns and their types.
const claim = where<Claim>();
client.on("claims", "*", () => {}, { filter: claim.and(claim.eq("status", "open"), claim.in("title", ["a", "b"]), claim.is("id", null)) });
// @ts-expect-error No such column.
claim.eq("state", "open");
// @ts-expect-error No such value.
claim.eq("status", "opened");
// @ts-expect-error A filter of other rows.
claim.and(where<{ id: number }>().gt("id", 1));
where().gt("anything", 7);

// Without definitions, anything goes, as unknown.
const loose = createClient("https://example.com", { organizationId: "org_1", token: "token" });
loose.on("anything", "INSERT", ({ new: row }) => {
	// @ts-expect-error It is unknown.
	row["title"].length;
});
loose.on.broadcast("anything", ({ payload }) => {
	const unknown: unknown = payload;
	return unknown;
});

// The definitions that the API worker publishes by.
const tables = { claims: defineTable<Claim>({ requiredRoles: ["member"] }) };
const namespaces = [
	defineRealtime({ name: "extraction", events: { started: payload<{ materialId: string }>() } }),
	defineRealtime({ name: "presence", events: { joined: payload<{ userId: string }>() } }),
] as const;
type Shared = DefinitionsOf<{ tables: typeof tables; namespaces: typeof namespaces }>;
const shared = createClient<Shared>("https://example.com", { organizationId: "org_1", token: "token" });
shared.on("claims", "INSERT", ({ new: claim }) => claim.title.length);
shared.on.broadcast("extraction:started", ({ payload }) => payload.materialId.length);
shared.on.broadcast("presence:joined", ({ payload }) => payload.userId.length);
// @ts-expect-error No such event of that namespace.
shared.on.broadcast("extraction:joined", () => {});

// Rows as a database library types them, as `typeof table.$inferSelect`: JSON has text where they have dates.
type Stored = { id: string; createdAt: Date; closedAt: Date | null; meta: { at: Date; tags: string[] } | null; note?: string };
const stored = { events: defineTable<Stored>({ fields: ["id", "createdAt"] }) };
const said = defineRealtime({ name: "said", events: { at: payload<{ time: Date }>() } });
type Json = DefinitionsOf<{ tables: typeof stored; namespaces: readonly [typeof said] }>;
const dated = createClient<Json>("https://example.com", { organizationId: "org_1", token: "token" });
dated.on("events", "INSERT", ({ new: event }) => {
	const texts: [string, string | null, string | undefined, string | undefined] =
		[event.createdAt, event.closedAt, event.meta?.at, event.note];
	// @ts-expect-error It is text.
	event.createdAt.getTime();
	return [texts, event.meta?.tags.length];
});
dated.on.broadcast("said:at", ({ payload }) => payload.time.slice(0, 10));
// As Hono's `hc` types the answer of the route that serves them.
type Answer = { id: string; createdAt: string; closedAt: string | null; meta: { at: string; tags: string[] } | null; note?: string };
declare const hc: { events: { $get(): Promise<{ json(): Promise<Answer[]> }> } };
const events = useTable(dated, "events", { query: async () => (await hc.events.$get()).json(), where: ({ createdAt }) => createdAt > "2026" });
void events.mutate({ put: { id: "e1", createdAt: new Date().toJSON() } }, async () => ({ receipt: { epoch: "x", offset: 1 } }));
// @ts-expect-error It is text.
void events.mutate({ put: { id: "e1", createdAt: new Date() } }, async () => null);
// A table may be named with its schema; changes name it without.
declare const qualified: ReturnType<typeof createClient<{ tables: { "hr.employees": { id: string } } }>>;
qualified.on("hr.employees", "*", ({ table }) => {
	const name: "employees" = table;
	return name;
});

export function apply(change: Change<Claim>): string | undefined {
	return change.eventType === "DELETE" ? change.old.id : change.new.id;
}
export const used = [first, member];
