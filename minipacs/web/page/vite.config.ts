import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

/** The archive serves what is built under /, beside /dicom-web and /api/v1; `npm run dev` takes those from one that runs. */
const archive = "http://127.0.0.1:8042";

/** Readers of meshes pull in parts of Node, and would stop the viewer as it starts; pictures need none. */
const absent = new URL("src/viewer/absent.ts", import.meta.url).pathname;

export default defineConfig({
  base: "./",
  plugins: [preact()],
  resolve: { alias: [{ find: /^@kitware\/vtk\.js\/IO\/.*/, replacement: absent }] },
  build: { outDir: "dist", target: "es2022", assetsInlineLimit: 0, sourcemap: false },
  worker: { format: "es" },
  server: { proxy: { "/dicom-web": archive, "/api/v1": archive } },
});
