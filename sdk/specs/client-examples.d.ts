/**
 * What the examples of the client's documentation find: an application's types and functions. `client-examples.spec.mjs`
 * provides them.
 */
type Claim = { id: string; title: string; status: "open" | "closed"; project_id: string };
type App = {
	tables: { claims: Claim };
	broadcasts: { "extraction:started": { materialId: string } };
	topics: { [room: `room:${string}`]: { cursor: { x: number; y: number } } };
	presence: { name: string; typing?: boolean };
};
type Change<R> = import("realtime-worker/client").Change<R>;
type JsonOf<T> = import("realtime-worker/client").JsonOf<T>;
type DefinitionsOf<S extends { tables?: object; namespaces?: readonly unknown[] }> = import("realtime-worker/client").DefinitionsOf<S>;

declare const client: import("realtime-worker/client").Client<App>;
declare const url: string;
declare const options: import("realtime-worker/client").ClientOptions;
declare const banner: { hidden: boolean };
declare const badge: { textContent: string };

type Act = (...about: unknown[]) => void;
declare const activeOrgId: string;
declare const add: Act;
declare const addRecord: Act;
declare const log: Act;
declare const move: Act;
declare const put: Act;
declare const refreshMaterial: Act;
declare const reload: Act;
declare const remove: Act;
declare const removeRecord: Act;
declare const render: Act;
declare const show: Act;
declare const showTaskNotification: Act;
declare const signIn: Act;
declare const start: Act;
declare const toast: Act;
declare const updateRecord: Act;
declare const Avatar: (props: { name: string }) => string;
