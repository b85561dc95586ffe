import { readFileSync } from 'node:fs'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import vue from '@vitejs/plugin-vue'
import { defineConfig, type Plugin } from 'vite'

/** Writes a .br and a .gz file for each built file, and routes.json, from which the console reads the paths of pages. */
function served(): Plugin {
  return {
    name: 'served',
    apply: 'build',
    enforce: 'post',
    generateBundle(_options, bundle) {
      for (const [fileName, item] of Object.entries(bundle)) {
        const content = Buffer.from(item.type === 'chunk' ? item.code : item.source)
        this.emitFile({ type: 'asset', fileName: `${fileName}.br`, source: brotliCompressSync(content) })
        this.emitFile({ type: 'asset', fileName: `${fileName}.gz`, source: gzipSync(content, { level: 9 }) })
      }
      this.emitFile({ type: 'asset', fileName: 'routes.json', source: readFileSync('src/routes.json') })
    },
  }
}

export default defineConfig({
  plugins: [vue(), served()],
  define: {
    __VUE_OPTIONS_API__: 'false',
    __VUE_PROD_DEVTOOLS__: 'false',
    __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
  },
  build: {
    outDir: '../gatehouse/console/static',
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy allows neither data: URIs nor inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
