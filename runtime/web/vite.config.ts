import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import vue from '@vitejs/plugin-vue'
import { defineConfig, type Plugin } from 'vite'
import { routes } from './src/routes'

/** Writes routes.json, from which the console reads the paths of pages. */
function served(): Plugin {
  return {
    name: 'served',
    apply: 'build',
    writeBundle({ dir = '.' }) {
      writeFileSync(join(dir, 'routes.json'), JSON.stringify(routes))
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
    outDir: '../gatehouse/services/console/static',
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy allows neither data: URIs nor inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
